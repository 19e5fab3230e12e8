"""A Comet backend in a directory of its own, and what Comet makes of its archive."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asynclogd.backends._cometarchive import FOLDER, pack
from asynclogd.backends._spelling import meant
from asynclogd.backends.base import (
    Media,
    Position,
    RunInfo,
)
from asynclogd.backends.comet import CometBackend, CometConfig
from asynclogd.media import forms
from asynclogd.testing import Content
from tests.daemon.backends import cometserver
from tests.daemon.backends.cometserver import KEY, Comet
from tests.daemon.backends.mediastore import Store

NON_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


def uploaded(archive: Path) -> Comet:
    """What Comet's uploader makes of an archive, each of its messages valid by Comet's own schema."""
    with cometserver.running() as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("COMET_URL_OVERRIDE", server.url)
        environment.setenv("COMET_DISABLE_AUTO_LOGGING", "1")
        environment.setenv("COMET_ERROR_TRACKING_ENABLE", "false")
        hook = sys.excepthook
        from comet_ml import offline

        sys.excepthook = hook
        folder = offline.unzip_offline_archive(str(archive))
        sender = offline.OfflineSender(KEY, folder, False, raise_validation_error_for_tests=True)
        sender.send()
        sender.close()
    told = [state["error"] for state in server.states if state.get("error")]
    assert not [text for text in told if not text.startswith("the run ended")]
    return server


def points(server: Comet) -> Content:
    """Every value, each series by its steps, and by its times where a step comes again."""
    found = sorted(server.metrics, key=lambda each: (each["step"], each["timestamp"]))
    return [(meant(each["metricName"]), each["step"], number(each["metricValue"])) for each in found]


def number(value: Any) -> float:
    return NON_FINITE[value] if isinstance(value, str) else float(value)


def packed(run: RunInfo) -> Path:
    archive = run.own_dir.parent / "packed.zip"
    pack(run.own_dir / FOLDER, archive)
    return archive


def info(directory: Path, store: Store | None = None) -> RunInfo:
    own = directory / "digits" / "run-1" / "comet"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", "run-1", own.parent, own, world=2, read_blob=None if store is None else store.read)


def opened(run: RunInfo, position: Position | None = None, **options: Any) -> CometBackend:
    backend = CometBackend(CometConfig(**options))
    backend.open(run, position)
    return backend


def archived(run: RunInfo, position: Position) -> Comet:
    return uploaded(run.own_dir / f"{position['key']}.zip")


def media(store: Store, directory: Path) -> list[Media]:
    (directory / "weights.ckpt").write_bytes(b"weights")
    (directory / "logs").mkdir(exist_ok=True)
    (directory / "logs" / "a.txt").write_bytes(b"one")
    rng = np.random.default_rng(0)
    gone = store.put(b"")
    return [
        store.item("seen", "image", {"dataformats": "HW", "caption": "a *cat*"}, 1, image=np.zeros((4, 4), np.uint8)),
        store.item("heard", "audio", {"sample_rate": 8000}, 2, audio=np.zeros(80, np.float32)),
        store.item("said", "text", None, 3, text="# hello"),
        store.item("spread", "histogram", {"bins": "tensorflow"}, 4, values=rng.normal(size=500)),
        Media("cells", 5, 1.7e9, "table", forms.JSON, {}, store.put(b'{"columns":["a","b"],"rows":[[1,"x"]]}')),
        Media("curve", 6, 1.7e9, "pr_curve", forms.PR_CURVE, {}, store.put(np.arange(12, dtype="<f4").tobytes())),
        Media("page", 7, 1.7e9, "html", forms.HTML, {}, store.put(b"<p>")),
        Media("ckpt", 8, 1.7e9, "file", forms.BYTES, {"path": f"{directory}/weights.ckpt", "type": "model"}, gone),
        Media("logs", 9, 1.7e9, "file", forms.BYTES, {"path": str(directory / "logs")}, gone),
        Media("notes", 10, 1.7e9, "file", forms.BYTES, {"artifact": "n/notes.md"}, store.put(b"note")),
    ]  # fmt: skip


def look_at(sent: Comet) -> None:
    found = {int(each.params["step"]): each for each in sent.uploads}
    kinds = {step: each.type for step, each in sorted(found.items())}
    assert kinds == {
        1: "visualization", 2: "audio", 3: "text-sample", 4: "histogram3d", 5: "asset", 6: "curve", 7: "asset",
        8: "model-element", 9: "asset", 10: "asset",
    }  # fmt: skip
    assert found[1].params["figName"] == "seen"
    assert found[1].metadata == {"caption": "a *cat*"}
    assert found[1].data.startswith(b"\x89PNG")
    assert found[2].params["fileName"] == "heard.wav"
    assert found[3].data == b"# hello"
    assert found[5].data == b"a,b\n1,x\n"
    assert json.loads(found[6].data) == {"x": [10, 11], "y": [8, 9], "name": "curve"}
    assert (found[8].params["groupingName"], found[8].data) == ("ckpt", b"weights")
    assert (found[9].params["fileName"], found[9].data) == ("logs/logs/a.txt", b"one")
    assert (found[10].params["fileName"], found[10].data) == ("notes/notes.md", b"note")
    counts = json.loads(found[4].data)
    from comet_ml.data_structure import Histogram

    theirs = Histogram()
    theirs.add(np.random.default_rng(0).normal(size=500))
    assert counts == theirs.to_json()


def key_file(directory: Path, key: str = KEY) -> str:
    file = directory / "key.txt"
    file.write_text(f"{key}\n")
    return str(file)
