"""Ranks that join, and join again, in one commit: steps are looked at once, when all of it has come."""

from __future__ import annotations

import pytest

from asynclog_proto.records import End, Pass
from asynclogd.points import Points, RunEnd
from asynclogd.progress import Progress
from asynclogd.reducer import Reducer
from tests.daemon.test_reducer import feed, joined, ranks, rows


def test_ranks_that_come_back_together_are_in_what_is_logged_beside_their_joins() -> None:
    reducer = joined(3)
    for rank in (1, 2):
        reducer.leave(rank, "L", 1.0)
    reducer.drain()
    for rank in range(3):
        reducer.join(rank, 3, "L", 2.0)
        reducer.feed(rank, "L", [rows("a", range(3))], 2.0)
    items = reducer.drain()
    assert ranks(items) == {("a", step): 3 for step in range(3)}
    assert not any(isinstance(item, Points) and item.revision for item in items)


@pytest.mark.parametrize("world", [100, 1])
def test_many_joins_have_the_ranks_looked_at_once(world: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where each of them makes the world larger: a look at each join is the square of their number."""
    looks, low = [], Progress.low

    def counted(progress: Progress) -> tuple[bool, int | None]:
        looks.append(progress.launch)
        return low(progress)

    monkeypatch.setattr(Progress, "low", counted)
    reducer = Reducer()
    for rank in range(100):
        reducer.join(rank, world, "L", 0.0)
    reducer.drain()
    assert looks == ["L"]


@pytest.mark.parametrize("comes", [1, 2])
def test_flushes_that_were_complete_do_not_wait_for_who_joins_next_to_them(comes: int) -> None:
    """Another process of a rank that has flushed, or a rank that nobody had heard of."""
    reducer = joined(2)
    reducer.feed(0, "L", [rows("a", [5]), Pass(5)], 0.0)
    reducer.feed(1, "L", [Pass(-1)], 0.0)
    reducer.join(comes, 3, "L", 0.0)
    reducer.join(2, 3, "L", 0.0)
    assert ranks(reducer.drain()) == {("a", 5): 1}


@pytest.mark.parametrize("launch", ["L", "L+", "M"])
def test_the_end_of_all_is_told_before_the_next_ones_come(launch: str) -> None:
    first = launch if launch != "M" else "L"
    reducer = Reducer()
    for rank in range(2):
        reducer.join(rank, 2, first, 0.0)
        reducer.feed(rank, first, [rows("a", [0]), End("success")], 0.0)
    for rank in range(2):
        reducer.join(rank, 2, launch, 1.0)
        reducer.feed(rank, launch, [rows("a", [9])], 1.0)
    items = reducer.drain()
    assert [index for index, item in enumerate(items) if isinstance(item, RunEnd)] == [1]
    assert ranks(items) == {("a", 0): 2, ("a", 9): 2}


def test_the_end_is_told_again_once_for_all_that_former_processes_left() -> None:
    reducer = joined(2)
    for rank in range(2):
        feed(reducer, rank, rows("a", [0]), End("success"))
    for _ in range(3):
        reducer.end_again("L")
        reducer.feed(1, "L", [rows("a", [0])], 1.0)
    items = reducer.drain()
    assert [item for item in items if isinstance(item, RunEnd)] == items[-1:] == [RunEnd("success")]
