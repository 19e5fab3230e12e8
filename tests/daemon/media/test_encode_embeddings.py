"""Embeddings beside the files of SummaryWriter.add_embedding."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from asynclogd.media.forms import EMBEDDING, Encoded
from tests.daemon.media.laid import encoded, refusal


def files(made: Encoded) -> dict[str, bytes]:
    assert made.form == EMBEDDING
    with zipfile.ZipFile(io.BytesIO(made.data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data), formats=["PNG"]))


HEADERS: list[tuple[Any, Any]] = [
    (None, None),
    ([f"label {i} ü" for i in range(7)], None),
    ([[i, f"name{i}", i / 3] for i in range(7)], ["number", "name", "third"]),
    ([["a", "b"]] * 7, None),
]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("shape", [None, (7, 3, 5, 5), (7, 1, 4, 6), (7, 3, 10, 32)])
@pytest.mark.parametrize(("metadata", "header"), HEADERS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "bool"])
def test_the_files_are_those_of_summary_writer(tmp_path: Path, dtype: str, metadata, header, shape) -> None:
    import torch
    from torch.utils.tensorboard import SummaryWriter

    rng = np.random.default_rng(0)
    matrix = (rng.normal(size=(7, 4)) * 3).astype(dtype)
    pictures = None if shape is None else torch.from_numpy(rng.random(shape, np.float32) * 1.2 - 0.1)
    with SummaryWriter(str(tmp_path)) as writer:
        writer.add_embedding(matrix, metadata, pictures, 3, "t", header)
    theirs = {path.name: path.read_bytes() for path in (tmp_path / "00003" / "t").iterdir()}
    parts: dict[str, Any] = {"matrix": matrix}
    if metadata is not None:
        parts["metadata"] = json.dumps(metadata)
    if pictures is not None:
        parts["label_images"] = pictures
    made = encoded("embedding", {} if header is None else {"metadata_header": header}, **parts)
    ours = files(made)
    if pictures is not None:
        assert np.array_equal(pixels(ours.pop("sprite.png")), pixels(theirs.pop("sprite.png")))
    assert ours == theirs
    height, width = (0, 0) if shape is None else shape[2:]
    assert made.options == {"n": 7, "dims": 4, "sprite_width": width, "sprite_height": height}


def test_high_pictures_make_a_high_sprite() -> None:
    """SummaryWriter fails on them."""
    pictures = np.random.default_rng(1).integers(0, 255, (5, 3, 7, 2), np.uint8)
    made = encoded("embedding", matrix=np.ones((5, 2)), label_images=pictures)
    sprite = pixels(files(made)["sprite.png"])
    assert sprite.shape == (14, 6, 3)
    assert np.array_equal(sprite[7:, 2:4], pictures[4].transpose(1, 2, 0))


def test_a_label_with_a_line_break_stays_one_line() -> None:
    names = files(encoded("embedding", matrix=np.ones((2, 2)), metadata=json.dumps(["a\nb", "c"])))["metadata.tsv"]
    assert names == b"a b\nc\n"
    cells = json.dumps([["a\tb", "c\r"], [1, 2]])
    made = encoded("embedding", {"metadata_header": ["x", "y"]}, matrix=np.ones((2, 2)), metadata=cells)
    assert files(made)["metadata.tsv"] == b"x\ty\na b\tc \n1\t2\n"


def test_equal_input_is_equal_bytes_and_nan_is_counted() -> None:
    matrix = np.array([[1.0, np.nan], [np.inf, 2.0]], np.float32)
    first, second = encoded("embedding", matrix=matrix), encoded("embedding", matrix=matrix)
    assert first.data == second.data
    assert first.options["nonfinite"] == 2


TWO = np.ones((2, 3), np.float32)


@pytest.mark.parametrize(
    ("parts", "options", "told"),
    [
        ({"matrix": np.ones(3)}, {}, "matrix has the shape [3]; (N, D) is accepted"),
        ({"matrix": np.ones((0, 3))}, {}, "an embedding of float64 [0, 3] is empty"),
        ({"matrix": np.zeros((1001, 10_000), np.uint8)}, {}, "10010000 numbers of an embedding; at most 10000000"),
        ({"matrix": TWO, "metadata": "["}, {}, "metadata is no JSON"),
        ({"matrix": TWO, "metadata": "[" * 100_000}, {}, "metadata is no JSON"),
        ({"matrix": TWO, "metadata": '["a"]'}, {}, "metadata of 1 for 2 points"),
        ({"matrix": TWO, "metadata": '{"a": 1}'}, {}, "metadata of dict for 2 points"),
        ({"matrix": TWO, "metadata": '["a", "b"]'}, {"metadata_header": ["x"]}, "a metadata_header of ['x']"),
        ({"matrix": TWO, "metadata": "[[1], [2, 3]]"}, {"metadata_header": ["x"]}, "each point's metadata as long"),
        ({"matrix": TWO, "label_images": np.ones((3, 3, 4, 4))}, {}, "3 label_images for 2 points"),
        ({"matrix": TWO, "label_images": np.ones((2, 4, 4, 4))}, {}, "label_images of 4 channels"),
        ({"matrix": TWO, "label_images": np.ones((2, 3, 4))}, {}, "(N, C, H, W) is accepted"),
        ({"matrix": TWO, "label_images": np.zeros((2, 3, 0, 4))}, {}, "a label image of 0 x 4 pixels is empty"),
        ({"matrix": TWO, "label_images": np.zeros((2, 1, 1, 40_000), np.uint8)}, {}, "a side of at most 65500"),
    ],
)  # fmt: skip
def test_what_is_no_embedding_is_told(parts: dict[str, Any], options: dict[str, Any], told: str) -> None:
    assert told in refusal("embedding", options, **parts)
