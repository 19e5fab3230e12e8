"""Embeddings as the projector's files, zipped. Source: torch/utils/tensorboard/_embedding.py."""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from PIL import Image

from asynclogd.media.body import Array, Body, counted, nonfinite, shown
from asynclogd.media.forms import EMBEDDING, Encoded, UnfitError
from asynclogd.media.images import png
from asynclogd.media.limits import MAX_COORDINATES, check_count, check_pixels
from asynclogd.media.pixels import as_bytes, grid

_LEVEL = 1
"""The files are read once, and unpacked; text shrinks to a half at any level."""


def encode(body: Body, options: Mapping[str, Any]) -> Encoded:
    """A matrix (N, D), optionally N labels or rows of labels, and N pictures (N, C, H, W)."""
    shape = body.shape("matrix", dims=2, axes="(N, D)")
    check_count("numbers of an embedding", math.prod(shape), MAX_COORDINATES)
    matrix = body.array("matrix")
    if not matrix.size:
        raise UnfitError(f"an embedding of {shown(matrix)} is empty; (N, D) is accepted")
    files = {"tensors.tsv": _tensors(matrix)}
    if "metadata" in body:
        files["metadata.tsv"] = _metadata(body.text("metadata"), options.get("metadata_header"), len(matrix))
    width = height = 0
    if "label_images" in body:
        height, width = body.shape("label_images", dims=4, axes="(N, C, H, W)")[2:]
        files["sprite.png"] = _sprite(body, len(matrix))
    about = {"n": len(matrix), "dims": matrix.shape[1], "sprite_width": width, "sprite_height": height}
    return Encoded(EMBEDDING, _zipped(files), {**about, **counted(nonfinite(matrix))})


def _tensors(matrix: Array) -> bytes:
    return "".join("\t".join(map(str, row)) + "\n" for row in matrix.tolist()).encode()


def _metadata(text: str, header: Any, count: int) -> bytes:
    try:
        labels = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UnfitError(f"metadata is no JSON: {error}") from None
    if not isinstance(labels, list) or len(labels) != count:
        found = len(labels) if isinstance(labels, list) else type(labels).__name__
        raise UnfitError(f"metadata of {found} for {count} points; a list of one entry each is accepted")
    if not header:
        return ("\n".join(_on_one_line(str(label)) for label in labels) + "\n").encode("utf-8", "replace")
    if not isinstance(header, list) or any(not isinstance(row, list) or len(row) != len(header) for row in labels):
        raise UnfitError(f"a metadata_header of {header!r}; a list is accepted, and each point's metadata as long")
    rows = ("\t".join(_on_one_line(str(cell)).replace("\t", " ") for cell in row) for row in [header, *labels])
    return ("\n".join(rows) + "\n").encode("utf-8", "replace")


def _on_one_line(label: str) -> str:
    """A line is a point: a label with two would give its neighbour's name to each point after it."""
    return label.replace("\r", " ").replace("\n", " ")


def _sprite(body: Body, count: int) -> bytes:
    """A square of pictures, row by row, higher where they are; what is left over is black."""
    pictures, channels, height, width = body.shape("label_images")
    if pictures != count:
        raise UnfitError(f"{pictures} label_images for {count} points; one each is accepted")
    if channels not in (1, 3):
        raise UnfitError(f"label_images of {channels} channels; 1 or 3 are accepted, axes (N, C, H, W)")
    columns = math.ceil(count**0.5)
    check_pixels("a label image", height, width)
    check_pixels("a sprite", columns * max(height, width), columns * width)
    # SummaryWriter multiplies in float64 here, and bytes by 255 too, which makes them white: those stay.
    pixels, _ = as_bytes(body, "label_images", through=np.float64)
    placed = grid(pixels, columns)
    square = np.zeros((max(columns * width, len(placed)), placed.shape[1], 3), np.uint8)
    square[: len(placed)] = placed
    return png(Image.fromarray(square))


def _zipped(files: Mapping[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL) as archive:
        for name, data in files.items():
            # A ZipInfo of its own has no time: equal embeddings are equal bytes, which are stored once.
            archive.writestr(zipfile.ZipInfo(name), data, zipfile.ZIP_DEFLATED, _LEVEL)
    return out.getvalue()
