"""`init(resume=...)` against a scripted daemon: where steps go on that log() counts itself."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

import asynclog
from asynclog import resuming
from asynclogd import journalfile
from asynclogd.journal import Journal
from tests.client.scripted import ScriptedDaemon

Begin = Callable[..., asynclog.Run]


@pytest.fixture(autouse=True)
def former(tmp_path: Path) -> None:
    """There is a run to resume."""
    (tmp_path / "out" / "p" / "former").mkdir(parents=True)
    (tmp_path / "out" / "p" / "former" / "journal.sqlite").touch()


EXISTS = "run p/former exists: it goes on, and from the first new step on what is logged replaces what its files had"


def test_a_name_that_is_taken_is_told_however_lately_its_journal_was_written(begin: Begin) -> None:
    """A daemon closes the journal some seconds after the run's end, when the next process has begun already."""
    with pytest.warns(asynclog.AsynclogWarning, match=EXISTS):
        begin(name="former")


def test_where_warnings_are_errors_a_name_that_is_taken_begins_nothing(tmp_path: Path, runtime_dir: Path) -> None:
    before = threading.active_count()
    with pytest.raises(asynclog.AsynclogWarning, match="exists"):
        asynclog.init("p", "former", dir=str(tmp_path / "out"))
    assert threading.active_count() == before
    assert list(runtime_dir.iterdir()) == []


def begun(path: Path) -> None:
    """As a daemon that is about to make a new journal's tables has it."""
    with contextlib.closing(sqlite3.connect(path)) as connection:
        journalfile._configure(connection, "process")
    assert not path.with_name(f"{path.name}-wal").exists()


def closed(path: Path) -> None:
    Journal.open(path, "process").close()


def opened(path: Path) -> None:
    closed(path)
    path.with_name(f"{path.name}-wal").touch()


@pytest.mark.parametrize(("make", "told"), [(begun, []), (opened, []), (closed, [EXISTS])])
def test_of_several_ranks_one_may_have_begun_the_journal(
    begin: Begin, tmp_path: Path, make: Callable[[Path], None], told: list[str]
) -> None:
    make(tmp_path / "out" / "p" / "former" / "journal.sqlite")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        begin(name="former", rank=0, world_size=2)
        begin(name="former", rank=1, world_size=2)
    assert [str(warning.message).partition(" (")[0].removeprefix("asynclog: ") for warning in caught] == told


@pytest.mark.parametrize(("before", "first"), [(None, 0), (41, 42), (2**63 - 2, 2**63 - 1)])
def test_log_counts_on_from_what_the_daemon_tells(
    daemon: ScriptedDaemon, begin: Begin, each_writer: object, before: int | None, first: int
) -> None:
    del each_writer
    daemon.step = before
    run = begin(name=None, resume="former")
    run.log({"loss": 1.0})
    run.finish()
    assert daemon.points() == [(first, "loss", 1.0)]


def test_a_step_that_is_given_counts_and_may_be_an_earlier_one(daemon: ScriptedDaemon, begin: Begin) -> None:
    daemon.step = 41
    run = begin(name=None, resume="former", strict=True)
    for step in (10, None):
        run.log({"loss": 1.0}, step)
    run.finish()
    assert [step for step, _, _ in daemon.points()] == [10, 11]
    assert run.stats.backward_steps == 0


def test_a_run_that_is_not_resumed_begins_at_0(daemon: ScriptedDaemon, begin: Begin) -> None:
    daemon.step = 41
    run = begin()
    run.log({"loss": 1.0})
    run.finish()
    assert daemon.points() == [(0, "loss", 1.0)]


def test_without_a_daemon_that_tells_it_is_said(begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resuming, "WELCOME_S", 0.01)
    with pytest.warns(asynclog.AsynclogWarning, match="unknown .no daemon has told it in 0.01 s"):
        run = begin(name=None, resume="former")
    assert run.stats.step == -1


def test_a_daemon_that_refuses_tells_nothing(daemon: ScriptedDaemon, begin: Begin) -> None:
    daemon.refuses = "not this one"
    with pytest.warns(asynclog.AsynclogWarning) as told:
        begin(name=None, resume="former")
    assert any("unknown (the daemon refuses the run)" in str(warning.message) for warning in told)
