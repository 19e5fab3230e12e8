"""What trackio's dashboard has of media."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asynclogd.backends.base import (
    PermanentError,
)
from asynclogd.media import forms
from asynclogd.media.store import MediaStore
from asynclogd.samples import table
from tests.daemon.backends.mediastore import Store
from tests.daemon.backends.trackioruns import info, rows, written

pytestmark = pytest.mark.sdk


def test_media_are_of_trackios_kinds(tmp_path: Path):
    from trackio.utils import MEDIA_DIR

    store = Store()
    run = replace(info(tmp_path, "media"), read_blob=store.read)
    picture = np.full((4, 4, 3), 200, np.uint8)
    items = [
        store.item("picture", "image", {"caption": "grey"}, 3, image=picture),
        store.item("sound", "audio", {"sample_rate": 8000}, 3, audio=np.zeros(80, np.float32)),
        store.item("numbers", "histogram", {}, 3, values=np.array([0.0, 1.0, 1.0, 2.0])),
    ]
    written(run, [table(["a"], [3]), *items], [*items])
    shown = {name: value for name, _, value in rows(run) if isinstance(value, dict)}
    kind = {"picture": "trackio.image", "sound": "trackio.audio", "numbers": "trackio.histogram"}
    assert {name: value["_type"] for name, value in shown.items()} == kind
    assert shown["picture"]["caption"] == "grey"
    for item in items[:2]:
        assert (MEDIA_DIR / shown[item.name]["file_path"]).read_bytes() == store.read(item.blob)
    bins, counts = shown["numbers"]["bins"], shown["numbers"]["values"]
    assert len(bins) == len(counts) + 1
    assert sum(counts) == 4


def test_tables_texts_and_files(tmp_path: Path):
    from trackio.utils import MEDIA_DIR

    store = MediaStore(tmp_path / "store")
    run = replace(info(tmp_path, "files"), read_blob=store.read)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "model.ckpt").write_bytes(b"weights")
    (tmp_path / "large" / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "large" / "pipe")

    def item(kind: str, form: str, data: bytes, **options: Any) -> Any:
        from asynclogd.backends.base import Media

        return Media(f"my {kind}", 3, 1.7e9, kind, form, options, store.append(data))

    media = [
        item("table", forms.JSON, b'{"columns":["a","b"],"rows":[[1,"x"],[2,"y"]]}'),
        item("text", forms.MARKDOWN, b"# hello"),
        item("html", forms.HTML, b"<b>hello</b>"),
        item("file", forms.BYTES, b"zip", artifact="notes/data.zip"),
        item("mesh", forms.MESH, b"triangles"),
        item("file", forms.BYTES, b"", path=str(tmp_path / "large" / "model.ckpt")),
        item("file", forms.BYTES, b"", path=str(tmp_path / "large")),
    ]
    written(run, media)
    shown = {name: value for name, _, value in rows(run)}
    assert shown["my table"] == {"_type": "trackio.table", "_value": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}
    assert shown["my text"] == {"_type": "trackio.markdown", "_value": "# hello"}
    assert (MEDIA_DIR / shown["my html"]["file_path"]).read_bytes() == b"<b>hello</b>"
    files = MEDIA_DIR / "digits" / "files" / "files" / "media"
    found = {str(path.relative_to(files)): path.read_bytes() for path in files.rglob("*") if path.is_file()}
    assert found == {
        "my file/step_3/data.zip": b"zip",
        "my file/step_3/model.ckpt": b"weights",
        "my file/step_3/large/model.ckpt": b"weights",
        "my mesh/step_3.mesh": b"triangles",
    }
    with pytest.raises(PermanentError, match="is not there any more"):
        written(run, [item("file", forms.BYTES, b"", path=str(tmp_path / "gone"))])
    with pytest.raises(PermanentError, match="is neither a file nor a directory"):
        written(run, [item("file", forms.BYTES, b"", path=str(tmp_path / "large" / "pipe"))])
    with pytest.raises(PermanentError, match="not of its form"):
        written(run, [item("table", forms.JSON, b"{")])
