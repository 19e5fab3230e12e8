"""When a run that ends has nothing more to wait for."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynclog.barriers import Barriers
from asynclog.ending import FAILED_PATIENCE_S, Ending
from asynclog.launcher import PATIENCE_S, Launcher
from asynclog.questions import Questions
from asynclog.stream import Stream
from asynclog_proto.flow import Pending, SendFlow
from asynclog_proto.frames import Ledger, Refused, Welcome
from tests.proto.strategies import HELLO

SINCE, DEADLINE = 100.0, 130.0


@pytest.fixture
def stream() -> Stream:
    return Stream(HELLO, SendFlow(), Barriers(), Questions())


@pytest.fixture
def launcher(tmp_path: Path) -> Launcher:
    return Launcher(f"ipc://{tmp_path}/nobody", tmp_path, spawns=False, tell=print)


def said(status: str = "success") -> Ending:
    ending = Ending(status, DEADLINE, SINCE)
    ending.said = True
    return ending


def test_nothing_is_over_before_the_end_is_said(stream: Stream) -> None:
    assert not Ending("success", DEADLINE, SINCE).is_over(DEADLINE + 1, stream, None)


def test_offline_it_is_over_once_it_is_said(stream: Stream) -> None:
    assert said().is_over(SINCE, stream, None)


def test_it_is_over_at_the_deadline_and_near_it_a_little_before(stream: Stream, launcher: Launcher) -> None:
    stream.receive(Welcome(0, 1000), SINCE)
    ending = said()
    assert not ending.is_over(DEADLINE - 0.1, stream, launcher)
    assert ending.is_near(DEADLINE - 0.1)
    assert not ending.is_near(SINCE)
    assert ending.is_over(DEADLINE, stream, launcher)


def test_it_is_over_when_the_daemon_has_told_a_whole_ledger(stream: Stream, launcher: Launcher) -> None:
    stream.receive(Welcome(0, 1000), SINCE)
    stream.receive(Ledger(complete=False, ledger={}), SINCE)
    assert not said().is_over(SINCE + 1, stream, launcher)
    stream.receive(Ledger(complete=True, ledger={}), SINCE)
    assert said().is_over(SINCE + 1, stream, launcher)


def test_it_is_over_when_the_daemon_refuses(stream: Stream, launcher: Launcher) -> None:
    stream.receive(Refused("no"), SINCE)
    assert said().is_over(SINCE, stream, launcher)


def test_a_run_that_failed_waits_for_the_journal_alone(stream: Stream, launcher: Launcher) -> None:
    stream.flow.offer(Pending(0, 1, 10, None))
    stream.receive(Welcome(0, 1000), SINCE)
    ending, patient = said("failed"), said()
    assert not ending.is_over(SINCE + 20, stream, launcher), "not all is journaled"
    stream.flow.take()
    stream.flow.ack(1, 1000)
    assert not ending.is_over(SINCE + 20, stream, launcher)
    assert ending.is_over(SINCE + 20.1 + FAILED_PATIENCE_S, stream, launcher)
    assert not patient.is_over(SINCE + 20.1 + FAILED_PATIENCE_S, stream, launcher), "others may be behind"


def test_where_nobody_answers_it_waits_no_longer_than_for_a_sign(stream: Stream, launcher: Launcher) -> None:
    assert not said().is_over(SINCE + PATIENCE_S - 0.1, stream, launcher)
    assert said().is_over(SINCE + PATIENCE_S + 0.1, stream, launcher)
    launcher.last_sign = SINCE + 10
    assert not said().is_over(SINCE + 10 + PATIENCE_S - 0.1, stream, launcher)
