"""What SwanLab has of media, and how names are spelt for it."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.backends import _swanlabnames
from asynclogd.backends._spelling import meant
from asynclogd.backends._swanlabnames import LIMIT, PROJECT_LIMIT, project_spelt, spelt
from asynclogd.backends.base import (
    Item,
    Media,
    PermanentError,
)
from asynclogd.media import forms
from asynclogd.media.store import MediaStore
from asynclogd.samples import AWKWARD_NAMES
from tests.daemon.backends.mediastore import Store
from tests.daemon.backends.swanlabruns import accepted, every, info, written

pytestmark = pytest.mark.sdk


def test_media_are_of_swanlabs_kinds(tmp_path: Path):
    from swanlab.proto.swanlab.metric.column.v1.column_pb2 import ColumnType

    store = Store()
    run = replace(info(tmp_path), read_blob=store.read)
    items: list[Item] = [
        store.item("picture", "image", {}, 3, image=np.full((4, 4, 3), 200, np.uint8)),
        store.item("sound", "audio", {"sample_rate": 8000}, 3, audio=np.zeros(80, np.float32)),
        store.item("numbers", "histogram", {}, 3, values=np.array([0.0, 1.0, 1.0, 2.0])),
        store.item("note", "text", {}, 3, text="# hello"),
    ]
    written(run, items, items)
    shown = {each.key: (ColumnType.Name(each.type), each.value.items[0]) for each in accepted(run, "media")}
    kinds = {"picture": "IMAGE", "sound": "AUDIO", "numbers": "ECHARTS", "note": "TEXT"}
    assert {name: kind.removeprefix("COLUMN_TYPE_") for name, (kind, _) in shown.items()} == kinds
    for name, (_, part) in shown.items():
        path = run.own_dir / "media" / kinds[name].lower() / part.filename
        assert path.stat().st_size == part.size


def test_tables_files_and_what_swanlab_has_no_kind_for(tmp_path: Path):
    store = MediaStore(tmp_path / "store")
    run = replace(info(tmp_path), read_blob=store.read)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "model.ckpt").write_bytes(b"weights")
    (tmp_path / "large" / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "large" / "pipe")

    def item(kind: str, form: str, data: bytes, **options: Any) -> Media:
        return Media(f"my {kind}", 3, 1.7e9, kind, form, options, store.append(data))

    written(
        run,
        [
            item("table", forms.JSON, b'{"columns":["a","b"],"rows":[[1,"x"],[2,"y"]]}'),
            item("file", forms.BYTES, b"zip", artifact="notes/data.zip"),
            item("mesh", forms.MESH, b"triangles"),
            item("file", forms.BYTES, b"", path=str(tmp_path / "large" / "model.ckpt")),
            item("file", forms.BYTES, b"", path=str(tmp_path / "large")),
        ],
    )
    (shown,) = accepted(run, "media")
    text = (run.own_dir / "media" / "echarts" / shown.value.items[0].filename).read_text()
    assert '"rowData": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]' in text
    saved = [each.save for each in every(run) if each.HasField("save")]
    assert {each.name: Path(each.source_path).read_bytes() for each in saved[1:4]} == {
        "media/my file/step_3/data.zip": b"zip",
        "media/my mesh/step_3.mesh": b"triangles",
        "media/my file/step_3/model.ckpt": b"weights",
    }
    assert saved[4].name == "media/my file/step_3/large.zip"
    assert ZipFile(saved[4].source_path).namelist() == ["model.ckpt"]
    with pytest.raises(PermanentError, match="SwanLab takes"):
        written(run, [item("image", forms.PNG, b"x" * (10 * 1024**2 + 1))])
    with pytest.raises(PermanentError, match="is not there any more"):
        written(run, [item("file", forms.BYTES, b"", path=str(tmp_path / "gone"))])
    with pytest.raises(PermanentError, match="is neither a file nor a directory"):
        written(run, [item("file", forms.BYTES, b"", path=str(tmp_path / "large" / "pipe"))])


def test_usual_names_stay_as_they_are():
    for name in ("loss", "train/loss", "lr-Adam.pg1", "größe", "a b"):
        assert spelt(name) == name
    assert spelt("__swanlab__.cpu") == "_0x5f__swanlab__.cpu"
    assert len(spelt("n" * 600)) == LIMIT
    assert len(project_spelt("n" * 600)) == PROJECT_LIMIT
    assert spelt("n" * 600) != spelt("n" * 601)


@given(st.one_of(st.text(min_size=1, max_size=40), st.text("_0x5f2e/. \n", min_size=1, max_size=10)))
def test_swanlab_takes_what_is_spelt(name: str):
    from swanlab.sdk.internal.pkg.constraints import ta_metric_key, ta_project
    from swanlab.sdk.internal.run.fmt import validate_key

    assert validate_key(spelt(name)) == ta_metric_key.validate_python(spelt(name)) == spelt(name)
    assert meant(spelt(name)) == name
    assert ta_project.validate_python(project_spelt(name)[:PROJECT_LIMIT])


def test_no_awkward_name_becomes_another():
    assert len({_swanlabnames.spelt(name) for name in AWKWARD_NAMES}) == len(AWKWARD_NAMES)
