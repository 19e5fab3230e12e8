"""Embeddings beside SummaryWriter.add_embedding's files, and after kills and rewinds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from google.protobuf import text_format
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

from asynclogd.backends._tfprojector import subdirectory
from asynclogd.backends.base import Media, PermanentError, Rewind, RunInfo
from asynclogd.media import forms
from tests.daemon.backends.mediastore import Store, written

MATRIX = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
PICTURES = np.random.default_rng(1).random((5, 3, 4, 6), np.float32)
NAMES = ["a", "b", "c", "d", "ü"]
ALL = {"matrix": MATRIX, "metadata": json.dumps(NAMES), "label_images": PICTURES}


@pytest.fixture
def store() -> Store:
    return Store()


def config(directory: Path) -> Any:
    return text_format.Parse((directory / "projector_config.pbtxt").read_text(), ProjectorConfig())


def tensors(run: RunInfo) -> list[str]:
    return [info.tensor_name for info in config(run.own_dir).embeddings]


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_files_and_configuration_are_those_of_summary_writer(tmp_path: Path, store: Store) -> None:
    import torch
    from torch.utils.tensorboard import SummaryWriter

    run = store.run(tmp_path)
    with SummaryWriter(str(tmp_path / "peer")) as writer:
        writer.add_embedding(MATRIX, NAMES, torch.from_numpy(PICTURES), 12, "word/s 100%")
        writer.add_embedding(MATRIX, global_step=13)
    written(
        run,
        store.item("word/s 100%", "embedding", {}, 12, **ALL),
        store.item("default", "embedding", {}, 13, matrix=MATRIX),
    )
    assert config(run.own_dir) == config(tmp_path / "peer")
    for name in ("tensors.tsv", "metadata.tsv"):
        path = Path("00012") / "word%2fs 100%25" / name
        assert (run.own_dir / path).read_bytes() == (tmp_path / "peer" / path).read_bytes()
    assert (run.own_dir / "00012" / "word%2fs 100%25" / "sprite.png").is_file()
    assert [path.name for path in (run.own_dir / "00013" / "default").iterdir()] == ["tensors.tsv"]


def test_an_embedding_that_is_offered_again_changes_nothing(tmp_path: Path, store: Store) -> None:
    run, item = store.run(tmp_path), store.item("e", "embedding", {}, 1, **ALL)
    position = written(run, store.item("first", "embedding", matrix=MATRIX))
    written(run, item, position=position)
    before = {path: path.read_bytes() for path in run.own_dir.glob("0*/*/*")}
    for _ in range(2):
        written(run, item, position=position)
    assert tensors(run) == ["first:00000", "e:00001"]
    assert {path: path.read_bytes() for path in run.own_dir.glob("0*/*/*")} == before
    assert list(config(run.own_dir).embeddings[1].sprite.single_image_dim) == [6, 4]


def test_one_of_another_content_takes_the_place_of_the_first(tmp_path: Path, store: Store) -> None:
    run = store.run(tmp_path)
    written(run, store.item("e", "embedding", {}, 1, **ALL), store.item("e", "embedding", {}, 1, matrix=MATRIX[:2]))
    (info,) = config(run.own_dir).embeddings
    assert (info.metadata_path, info.sprite.image_path) == ("", "")
    assert (run.own_dir / info.tensor_path).read_text().count("\n") == 2


def test_a_rewind_takes_the_steps_out_that_come_again(tmp_path: Path, store: Store) -> None:
    run = store.run(tmp_path)
    items = [store.item("e", "embedding", {}, step, matrix=MATRIX) for step in (-3, 0, 5, 9)]
    written(run, *items, Rewind(5, 1))
    assert tensors(run) == ["e:-0003", "e:00000"]
    written(run, items[2], Rewind(9, 2))
    assert tensors(run) == ["e:-0003", "e:00000", "e:00005"]


def test_entries_of_others_stay(tmp_path: Path, store: Store) -> None:
    run = store.run(tmp_path)
    (run.own_dir / "projector_config.pbtxt").write_text('embeddings { tensor_name: "mine" tensor_path: "mine.tsv" }')
    written(run, store.item("e", "embedding", matrix=MATRIX), Rewind(0, 1))
    assert tensors(run) == ["mine"]


def test_a_configuration_that_cannot_be_read_is_replaced(tmp_path: Path, store: Store) -> None:
    run = store.run(tmp_path)
    (run.own_dir / "projector_config.pbtxt").write_bytes(b"\xff{{{")
    written(run, store.item("e", "embedding", matrix=MATRIX))
    assert tensors(run) == ["e:00000"]


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04 no more", b"no zip"])
def test_what_is_no_embedding_is_refused(tmp_path: Path, store: Store, data: bytes) -> None:
    item = Media("e", 0, 1.0, "embedding", forms.EMBEDDING, {}, store.put(data))
    with pytest.raises(PermanentError, match="e: a blob that is no embedding"):
        written(store.run(tmp_path), item)


def test_a_zip_without_tensors_is_refused(tmp_path: Path, store: Store) -> None:
    import io
    import zipfile

    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("../../tensors.tsv", "1\n")
    item = Media("e", 0, 1.0, "embedding", forms.EMBEDDING, {}, store.put(out.getvalue()))
    with pytest.raises(PermanentError, match=r"e: an embedding without tensors\.tsv"):
        written(store.run(tmp_path), item)


@pytest.mark.parametrize("tag", ["..", ".", "", "a/../b", "\\", "x\0y", "ü" * 300, "%2f"])
def test_a_tag_is_one_directory_whatever_it_is(tmp_path: Path, store: Store, tag: str) -> None:
    run = store.run(tmp_path)
    written(run, store.item(tag, "embedding", {}, 7, matrix=MATRIX))
    (folder,) = (run.own_dir / "00007").iterdir()
    assert (folder / "tensors.tsv").is_file()
    assert folder.name == subdirectory(tag)


def test_long_tags_of_one_beginning_do_not_meet() -> None:
    assert subdirectory("x" * 300 + "a") != subdirectory("x" * 300 + "b")
