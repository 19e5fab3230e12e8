"""`init(resume=...)` against a scripted daemon: where steps go on that log() counts itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import asynclog
from asynclog import resuming
from tests.client.scripted import ScriptedDaemon

Begin = Callable[..., asynclog.Run]


@pytest.fixture(autouse=True)
def former(tmp_path: Path) -> None:
    """There is a run to resume."""
    (tmp_path / "out" / "p" / "former").mkdir(parents=True)
    (tmp_path / "out" / "p" / "former" / "journal.sqlite").touch()


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
