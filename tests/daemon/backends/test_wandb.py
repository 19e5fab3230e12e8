"""W&B offline: the files that the backend writes, read by W&B's own reader."""

from __future__ import annotations

import html
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog_proto.errors import ConfigError
from asynclogd.backends import _wandbrecords
from asynclogd.backends._wandbnames import STEP, meant, project_name, spelt
from asynclogd.backends.base import (
    Item,
    Params,
    PermanentError,
    Position,
    Rewind,
    RunEnd,
    RunInfo,
    StartOverError,
    Summary,
)
from asynclogd.backends.wandb import WandbBackend, WandbConfig
from asynclogd.contractbase import MediaContent
from asynclogd.testing import Content, table
from tests.daemon.backends import wandbreader
from tests.daemon.backends.fulldisk import FullDiskContract
from tests.daemon.backends.mediastore import Store
from tests.daemon.sinkplace import Place

pytestmark = pytest.mark.sdk


class TestWandb(FullDiskContract):
    def make(self) -> WandbBackend:
        return WandbBackend(WandbConfig(mode="offline"))

    def read(self, run: RunInfo) -> Content:
        return wandbreader.points(self._newest(run))

    def read_media(self, run: RunInfo) -> MediaContent:
        file = self._newest(run)
        return [
            (meant(key), int(row[STEP]), self._text_of(file.parent / "files" / value["path"]))
            for row in wandbreader.rows(file)
            for key, value in row.items()
            if isinstance(value, dict)
        ]

    def _text_of(self, page: Path) -> bytes:
        return html.unescape(page.read_text().removeprefix("<pre>").removesuffix("</pre>")).encode()

    def _newest(self, run: RunInfo) -> Path:
        """A killed backend removes nothing: the file that a rewind began is the run's."""
        return max(run.own_dir.glob("*run-*/*.wandb"), key=lambda path: path.parent.name)


def info(directory: Path, name: str = "run-1") -> RunInfo:
    own = directory / name / "wandb"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", name, own.parent, own, world=2)


def opened(run: RunInfo, position: Position | None = None, **options: Any) -> WandbBackend:
    backend = WandbBackend(WandbConfig(mode="offline", **options))
    backend.open(run, position)
    return backend


def records(run: RunInfo) -> list[tuple[str, Any]]:
    return wandbreader.told(wandbreader.file_of(run.own_dir))


@pytest.mark.parametrize("status", ["killed", "interrupted"])
def test_a_run_has_its_config_summary_metrics_and_end(tmp_path: Path, status: str):
    run = info(tmp_path)
    options: dict[str, Any] = {
        "tags": ("a", "b"),
        "group": "g",
        "job_type": "train",
        "notes": "n",
        "entity": "me",
        "name": "nice",
    }
    backend = opened(run, **options)
    backend.write([Params({"lr": 0.1, "model/size": 3, "none": None, "bad": float("nan")}), table(["loss"], range(3))])
    backend.write([Summary({"best": 0.5}), RunEnd(status)])
    backend.flush()
    backend.close(status)
    found = records(run)
    ((_, about),) = [each for each in found if each[0] == "run"]
    names = ("project", "entity", "display_name", "run_group", "job_type", "notes", "tags")
    assert [about[name] for name in names] == ["digits", "me", "nice", "g", "train", "n", ["a", "b"]]
    config = [told["update"] for kind, told in found if kind == "config"]
    assert config == [{"lr": 0.1, "model/size": 3, "none": None, "bad": "NaN"}]
    metrics = {told["name"]: told for kind, told in found if kind == "metric"}
    assert metrics["loss"]["step_metric"] == "step"
    assert metrics["step"]["options"]["hidden"]
    summary = [told["update"] for kind, told in found if kind == "summary"]
    last = wandbreader.points(wandbreader.file_of(run.own_dir))[-1][2]
    assert summary == [{"loss": last}, {"best": 0.5}]
    assert found[-1] == ("exit", {"exit_code": 255})


def test_late_points_are_rows_like_others(tmp_path: Path):
    """W&B's own step only grows, and counts; the training's goes where it likes."""
    run = info(tmp_path)
    backend = opened(run)
    backend.write([table(["a"], [5, 6]), table(["b"], [2]), table(["a"], [3], revision=True)])
    backend.flush()
    backend.close("")
    rows = wandbreader.rows(wandbreader.file_of(run.own_dir))
    assert [(row["step"], row["_step"], "a" in row) for row in rows] == [
        (5, 0, True), (6, 1, True), (2, 2, False), (3, 3, True),
    ]  # fmt: skip
    assert [row["_timestamp"] for row in rows] == pytest.approx([1.7e9 + 0.5, 1.7e9 + 0.6, 1.7e9 + 0.2, 1.7e9 + 1.3])


def test_a_run_that_is_taken_up_again_has_one_end_whatever_is_killed(tmp_path: Path):
    run = info(tmp_path)
    ended: list[Item] = [table(["a"], range(3)), RunEnd("failed")]
    backend = opened(run)
    backend.write(ended)
    first = backend.flush()
    backend = opened(run, first)  # killed: the one before was not closed
    backend.write([table(["a"], range(3, 500))])  # over the place of the end
    backend.flush()
    backend = opened(run, first)
    assert opened(run, first).flush() == first
    assert [kind for kind, _ in records(run)].count("exit") == 1
    backend.write([table(["a"], [3]), RunEnd("success"), table(["a"], [4]), RunEnd("success")])
    second = backend.flush()
    backend.close("success")
    assert opened(run, second).flush() == second
    assert [row["_step"] for row in wandbreader.rows(wandbreader.file_of(run.own_dir))] == list(range(5))
    found = records(run)
    assert [kind for kind, _ in found].count("exit") == 1
    assert found[-1][1]["exit_code"] == 0


def test_a_rewind_leaves_one_file_without_what_was_superseded(tmp_path: Path):
    store = Store()
    run = replace(info(tmp_path), read_blob=store.read)
    pictures = [store.item("x", "text", {}, step, text=f"step {step}") for step in range(4)]
    backend = opened(run)
    backend.write([Params({"lr": 1}), table(["a", "gone"], range(4)), *pictures, Summary({"best": 9})])
    backend.write([table(["late"], [1])])
    before = backend.flush()
    opened(run, before).write([Rewind(2, 1), table(["a"], [3])])
    backend = opened(run, before)
    backend.write([Rewind(2, 1), table(["a"], [2], generation=1)])
    backend = opened(run, backend.flush())
    backend.write([Rewind(1, 2), table(["a"], [1], generation=2), RunEnd("success")])
    after = backend.flush()
    backend.close("success")
    file = wandbreader.file_of(run.own_dir)  # the only one
    assert [(row["step"], row["_step"]) for row in wandbreader.rows(file)] == [(0, 0), (0, 4), (1, 10)]
    assert [each["path"] for kind, told in records(run) if kind == "files" for each in told["files"]] == [
        value["path"] for row in wandbreader.rows(file) for value in row.values() if isinstance(value, dict)
    ]
    found: dict[str, Any] = {}
    for kind, told in records(run):
        found.update(told["update"] if kind == "summary" else {})
    assert {name: type(value) for name, value in found.items()} == {"best": int, "a": float, "x": dict, "gone": float}
    assert (file.parent / "files" / found["x"]["path"]).read_text() == "<pre>step 0</pre>"
    assert opened(run, after).flush() == after


def test_a_file_that_is_gone_or_shorter_is_begun_again(tmp_path: Path):
    run = info(tmp_path)
    backend = opened(run)
    backend.write([table(["a"], range(9))])
    position = backend.flush()
    backend.close("")
    file = wandbreader.file_of(run.own_dir)
    os.truncate(file, 100)
    with pytest.raises(StartOverError, match="100 bytes"):
        opened(run, position)
    file.unlink()
    with pytest.raises(StartOverError, match="0 bytes"):
        opened(run, position)
    backend = opened(run)
    backend.write([table(["a"], range(9))])
    backend.flush()
    assert len(wandbreader.rows(wandbreader.file_of(run.own_dir))) == 9


def test_ids_are_kept_given_or_refused(tmp_path: Path):
    run = info(tmp_path)
    ids = set()
    for position in (None, None):
        opened(run, position).close("")
        ids.add(wandbreader.file_of(run.own_dir).stem)
    opened(info(tmp_path, "run-2")).close("")
    ids.add(wandbreader.file_of(info(tmp_path, "run-2").own_dir).stem)
    assert len(ids) == 2
    opened(info(tmp_path, "run-3"), id="mine").close("")
    assert wandbreader.file_of(info(tmp_path, "run-3").own_dir).stem == "run-mine"
    with pytest.raises(PermanentError, match=r"'id': '\.\./mine'"):
        opened(run, id="../mine")


def test_a_variable_of_the_daemon_holds_where_the_option_is_not_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, value in {"PROJECT": "q", "ENTITY": "me", "NAME": "nice", "RUN_GROUP": "g", "TAGS": "a, b"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    run = info(tmp_path)
    backend = opened(run, name="mine")
    backend.write([table(["a"], [0])])
    backend.flush()
    ((_, about),) = [each for each in records(run) if each[0] == "run"]
    names = ("project", "entity", "display_name", "run_group", "tags")
    assert [about[name] for name in names] == ["q", "me", "mine", "g", ["a", "b"]]


def test_a_mode_that_wandb_has_not_is_refused_with_those_that_it_has(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "ofline")
    with pytest.raises(ConfigError, match=r"WANDB_MODE='ofline'.*allowed: online, offline, disabled"):
        WandbBackend(WandbConfig())
    assert WandbBackend(WandbConfig(mode="offline")).local


def test_one_that_is_disabled_writes_nothing_and_has_all_of_the_run_once_it_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    place = Place(tmp_path)
    place.run = info(tmp_path)
    place.add(table(["a"], range(3)))
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert place.sink(WandbBackend(WandbConfig())).stop(drain=True, timeout=30)
    assert (place.cursor.offset, place.cursor.limited, place.cursor.delivered) == (1, 6, 0)
    assert not list(place.run.own_dir.iterdir())
    assert caplog.text.count("nothing is written") == 1
    place.add(table(["a"], [3]))
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert place.sink(WandbBackend(WandbConfig())).stop(drain=True, timeout=30)
    assert [step for _, step, _ in wandbreader.points(wandbreader.file_of(place.run.own_dir))] == [0, 1, 2, 3]
    assert (place.cursor.limited, place.cursor.delivered) == (0, 8)


def test_names_that_are_no_text_are_told_by_number(tmp_path: Path):
    run = info(tmp_path)
    backend = opened(run)
    backend.write([table(["a\udcff"], [0]), Params({"p\udcff": "v\udcff"})])
    backend.flush()
    assert "a\\udcff" in wandbreader.rows(wandbreader.file_of(run.own_dir))[0]


def test_rows_that_wandb_would_leave_out_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run, names = info(tmp_path), [f"layer{i}" for i in range(100)]
    monkeypatch.setattr(_wandbrecords, "LONGEST_ROW", 1000)
    backend = opened(run)
    backend.write([table(names, [0, 1])])
    backend.flush()
    rows = wandbreader.rows(wandbreader.file_of(run.own_dir))
    assert len(rows) > 8
    assert sorted(key for row in rows for key in row if key in names) == sorted(names * 2)
    assert [row["_step"] for row in rows] == list(range(len(rows)))


def test_the_sdk_changes_nothing_in_this_process(tmp_path: Path):
    """In a process of its own: the import is done once."""
    code = """
import os, signal, sys, threading
from pathlib import Path
import psutil
from asynclogd.backends.base import RunEnd, RunInfo
from asynclogd.backends.wandb import WandbBackend, WandbConfig

def state():
    handlers = [signal.getsignal(each) for each in (2, 15)]
    return sys.excepthook, handlers, sys.stdout, sys.stderr, dict(os.environ), threading.active_count()

own, before = Path(sys.argv[1]), state()
backend = WandbBackend(WandbConfig(mode="offline"))
assert "wandb" not in sys.modules
backend.open(RunInfo("p", "r", own.parent, own), None)
backend.write([RunEnd("success")]); backend.flush(); backend.close("success")
assert "wandb" in sys.modules
assert state() == before
assert not psutil.Process().children()
"""
    command = [sys.executable, "-c", code, str(info(tmp_path).own_dir)]
    told = subprocess.run(command, check=True, capture_output=True, text=True)
    assert told.stdout + told.stderr == ""


@given(st.text(min_size=1, max_size=12), st.text("series/_tp", min_size=1, max_size=12))
def test_no_two_names_are_spelt_alike(one: str, other: str):
    assert (spelt(one) == spelt(other)) == (one == other)
    assert meant(spelt(one)) == one
    assert not spelt(one).startswith("_")
    assert spelt(other) != STEP


def test_usual_names_stay_as_they_are():
    for name in ("loss", "train/loss", "val_x", "lr-Adam.pg1", "a: b", "größe", "steps"):
        assert spelt(name) == name
    assert spelt("step") == "series/step"
    assert project_name("my/project: #1") == "my-project---1"
