"""SwanLab's run directory, read by the SDK's own reader, and sent by its `swanlab sync` to a server that keeps it."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from asynclogd import disk
from asynclogd.backends import _files
from asynclogd.backends._spelling import meant
from asynclogd.backends.base import (
    Item,
    Media,
    Params,
    Rewind,
    RunEnd,
    RunInfo,
    StartOverError,
    Summary,
)
from asynclogd.backends.swanlab import LAST_STEP, SwanlabBackend
from asynclogd.contractbase import MediaContent
from asynclogd.media import forms
from asynclogd.samples import content, exactly, table
from asynclogd.testing import Content
from tests.daemon.backends.mediastore import Store
from tests.daemon.backends.sigkill import SigkillContract
from tests.daemon.backends.swanlabruns import accepted, every, info, written
from tests.daemon.backends.swanlabserver import Received, serving

pytestmark = pytest.mark.sdk


class TestSwanlab(SigkillContract):
    where = "asynclogd.backends.swanlab:SwanlabBackend"

    def read(self, run: RunInfo) -> Content:
        scalars = [record.scalar for record in every(run) if record.HasField("scalar")]
        return [(meant(each.key), each.step, each.value.number) for each in scalars]

    def read_media(self, run: RunInfo) -> MediaContent:
        directory = run.own_dir / "media" / "text"
        found = accepted(run, "media")
        return [
            (meant(each.key), each.step, (directory / part.filename).read_bytes())
            for each in found
            for part in each.value.items
        ]


def synced(run: RunInfo, received: Received, *options: str) -> None:
    """What a user types, in a process and a home of its own."""
    command = [sys.executable, "-m", "swanlab", "sync", "-k", "k" * 21, "-h", received.address, *options]
    home = run.dir / "home"
    home.mkdir(exist_ok=True)
    environment = {**os.environ, "HOME": str(home), "SWANLAB_SAVE_DIR": str(home), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run([*command, str(run.own_dir)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def state(run: RunInfo) -> list[str]:
    from swanlab.proto.swanlab.run.v1.run_pb2 import RunState

    return [RunState.Name(record.finish.state) for record in every(run) if record.HasField("finish")]


def test_swanlab_sync_sends_everything(tmp_path: Path):
    store = Store()
    run = replace(info(tmp_path, "my project"), read_blob=store.read)
    picture = store.item("picture", "image", {"caption": "grey"}, 3, image=np.full((4, 4, 3), 200, np.uint8))
    points = [table(["train/loss", ".hidden"], range(50)), table(["late"], [7, 3])]
    revised = table(["late"], [3], 5, revision=True)
    values = np.array([[math.nan, math.inf, 1e300]])
    odd = replace(table(["nan", "inf", "large"], [0]), values=values)
    params = Params({"lr": 0.1, "name": "x: y", "none": None})
    (tmp_path / "notes.txt").write_bytes(b"a note")
    note = Media("note", 3, 1.7e9, "file", forms.BYTES, {"path": str(tmp_path / "notes.txt")}, store.put(b""))
    written(run, [params, *points, picture, odd, note], [revised, RunEnd("failed")], tags=("a", "b"), group="sweep")
    with serving() as received:
        synced(run, received)
    sent = {(meant(each["key"]), each["index"]): each["data"] for each in received.metrics["scalar"]}
    last = {(name, step): value for name, step, value in content([*points, revised])}
    assert sent == {**last, ("nan", 0): "nan", ("inf", 0): "nan", ("large", 0): 1e300}
    assert len(sent) == len(received.metrics["scalar"])
    times = {each["key"]: each["create_time"] for each in received.metrics["scalar"] if each["index"] == 1}
    assert times["train/loss"] == "2023-11-14T22:13:20.100Z"
    (media,) = received.metrics["media"]
    assert (media["key"], media["index"], media["more"]) == ("picture", 3, [{"caption": "grey"}])
    assert received.files[media["data"][0]] == store.read(picture.blob)
    assert received.files["media/note/step_3/notes.txt"] == b"a note"
    assert {name: each["value"] for name, each in received.config.items()} == {
        "asynclog.world_size": 2, "lr": 0.1, "name": "x: y", "none": None,
    }  # fmt: skip
    assert received.experiment["name"] == "run-1"
    assert received.experiment["cluster"] == "sweep"
    assert [label["name"] for label in received.experiment["labels"]] == ["a", "b"]
    assert "GET /api/project/me/my_0x20_project" in received.paths
    assert received.state == "CRASHED"
    assert {each["key"] for each in received.columns} == {
        "train/loss", "_0x2e_hidden", "late", "nan", "inf", "large", "picture",
    }  # fmt: skip


@pytest.mark.parametrize("status", ["killed", "interrupted"])
def test_the_end_is_the_files_last_record_until_more_comes(tmp_path: Path, status: str):
    run = info(tmp_path)
    position = written(run, [table(["a"], range(3)), RunEnd(status)])
    assert every(run)[-1].finish.error == f"the run was {status}"
    assert state(run) == ["RUN_STATE_ABORTED"]
    written(run, position=position)
    assert state(run) == ["RUN_STATE_ABORTED"]
    resumed = written(run, [Rewind(1, 1), table(["a"], [1], 1)], position=position)
    assert state(run) == []
    written(run, [Summary({"best": 0.5}), RunEnd("success")], position=resumed)
    assert state(run) == ["RUN_STATE_FINISHED"]
    assert every(run)[-1].HasField("finish")
    assert [each.step for each in accepted(run, "scalar")] == [0, 1]
    config = yaml.safe_load((run.own_dir / "files" / "config.yaml").read_bytes())
    assert config["summary.best"] == {"value": 0.5, "desc": "", "sort": 1}


def test_superseded_records_leave_the_file_and_others_keep_their_order(tmp_path: Path):
    run = info(tmp_path)
    late = table(["a"], [1], 9, revision=True)
    position = written(run, [table(["a", "b"], range(4))])
    for _ in range(2):  # a position of the file before it was written anew
        written(run, [late], [Rewind(3, 1), table(["b"], [3], 2)], position=position)
        assert [(each.key, each.step) for each in accepted(run, "scalar")] == [
            ("a", 0), ("b", 0), ("b", 1), ("a", 2), ("b", 2), ("a", 1), ("b", 3),
        ]  # fmt: skip
    values = {(each.key, each.step): each.value.number for each in accepted(run, "scalar")}
    assert values["a", 1] == content([late])[0][2]


def test_late_values_come_to_stand_first_at_the_end_and_as_the_file_doubles(tmp_path: Path):
    """Each flush of a run may have late values: the file is not written anew for each."""
    run = info(tmp_path)
    position, inodes = written(run, [table(["a"], range(5))]), set()
    for at in range(5, 200, 5):
        late = table(["a"], [at - 1], at, revision=True)
        position = written(run, [table(["a"], range(at, at + 5)), late], position=position)
        inodes.add(position["made"])
    assert len(inodes) < 10
    assert position["late"]
    written(run, [RunEnd("success")], position=position)
    values = {each.step: each.value.number for each in accepted(run, "scalar")}
    for at in range(5, 200, 5):
        assert values[at - 1] == content([table(["a"], [at - 1], at)])[0][2]
    assert len(values) == len([each for each in every(run) if each.HasField("scalar")]) == 200


def test_steps_that_swanlab_leaves_out_are_in_the_file_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    run = info(tmp_path)
    points: list[Item] = [table(["a"], [-1, 0, LAST_STEP, LAST_STEP + 1])]
    written(run, points, points)
    assert caplog.text.count("leaves them out") == 1
    kept = [each.scalar for each in every(run) if each.HasField("scalar")]
    wanted = [exactly(*point) for point in content([*points, *points])]
    assert [exactly(each.key, each.step, each.value.number) for each in kept] == wanted


@pytest.mark.parametrize("harm", ["shortened", "removed", "no config", "no header"])
def test_what_can_not_be_gone_on_from_starts_over(tmp_path: Path, harm: str):
    run = info(tmp_path)
    position = written(run, [table(["a"], range(500))])
    (path,) = run.own_dir.glob("run-*.swanlab")
    if harm == "shortened":
        path.write_bytes(path.read_bytes()[:-20])
    elif harm == "removed":
        path.unlink()
    elif harm == "no config":
        (run.own_dir / "files" / "config.yaml").unlink()
    else:
        path.write_bytes(b"")
    with pytest.raises(StartOverError):
        written(run, position=position)
    written(run, [table(["a"], range(500))])
    assert len(accepted(run, "scalar")) == 500
    assert len(list(run.own_dir.glob("run-*.swanlab"))) == 1


def test_a_torn_tail_past_the_position_is_cut(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, [table(["a"], range(500))])
    (path,) = run.own_dir.glob("run-*.swanlab")
    with path.open("ab") as file:
        file.write(b"\x01\x02\x03")
    written(run, [table(["a"], range(500, 900))], position=position)
    assert [each.step for each in accepted(run, "scalar")] == list(range(900))


def test_a_full_disk_at_the_end_keeps_the_file_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run, calls = info(tmp_path), []
    backend = SwanlabBackend()
    backend.open(run, None)
    backend.write([table(["a"], range(5)), RunEnd("success")])
    write_at = disk.write_at

    def full_at_the_second(*args: Any) -> int:
        calls.append(args)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return write_at(*args)

    monkeypatch.setattr(_files, "write_at", full_at_the_second)
    with pytest.raises(OSError, match="No space"):
        backend.flush()
    backend.flush()
    assert state(run) == ["RUN_STATE_FINISHED"]
    assert len(accepted(run, "scalar")) == 5
