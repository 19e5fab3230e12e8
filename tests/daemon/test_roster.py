"""Who a run's streams are, by their hellos alone."""

from __future__ import annotations

import time

import pytest

from asynclog_proto.frames import Hello
from asynclogd.entries import Stream
from asynclogd.roster import Roster


def hello(incarnation: str, rank: int = 0, world: int = 2, launch: str = "L") -> Hello:
    return Hello("p", "run", "/tmp", rank, world, incarnation, launch, 0, 1, "host")


def test_streams_are_numbered_behind_those_that_are_journaled() -> None:
    journaled = Stream(7, 0, 2, "a", "L", "host", 1, "", "", next_seq=5)
    began = time.monotonic()
    roster = Roster("p/run", [journaled])
    assert roster.sessions["a"].flow.committed == 5
    assert roster.sessions["a"].heard >= began, "it has time to say hello"
    session, _ = roster.admit(hello("b", rank=1), None)
    assert roster.by_id() == {7: roster.sessions["a"], 8: session}


def test_the_live_processes_of_a_rank_are_former_ones_when_its_next_has_come() -> None:
    roster = Roster("p/run")
    first, none = roster.admit(hello("a"), None)
    assert none == []
    dead, _ = roster.admit(hello("b"), None)
    dead.stream.state = "dead"
    for other in (hello("c", rank=1), hello("d", launch="M")):
        assert roster.admit(other, None)[1] == []
    unheard, none = roster.admit(hello("e"), 1.0)
    assert none == [], "it died before the others came"
    _, former = roster.admit(hello("f"), None)
    assert former == [first, unheard]
    assert [name for name, each in roster.sessions.items() if roster.is_past(each)] == ["a", "b", "e"]


@pytest.mark.parametrize(("launch", "told"), [("L", True), ("M", False), ("L+", False)])
def test_ranks_of_one_launch_that_tell_different_worlds_are_told(
    launch: str, told: bool, caplog: pytest.LogCaptureFixture
) -> None:
    roster = Roster("p/run")
    first, _ = roster.admit(hello("a", launch="L+" if launch == "L+" else "L"), None)
    assert roster.odd_world(first.stream) == ""
    second, _ = roster.admit(hello("b", rank=1, world=4, launch=launch), None)
    notice = roster.odd_world(second.stream)
    assert ("rank 1 says world_size=4, but rank 0 of the same launch says 2" in notice) is told
    assert ("world_size=4" in caplog.text) is told
