"""What is told of a launch whose ranks live on when a newer one has begun, and what is counted."""

from __future__ import annotations

import pytest

from asynclog_proto.records import Define
from asynclogd.points import Points, Rewind
from asynclogd.reducer import Reducer, ReducerSettings
from tests.daemon.test_reducer import balance, feed, joined, rows, values

pytestmark = pytest.mark.fault("outlived")


def relaunched(first: int = 5) -> Reducer:
    """A rank has logged 10 steps, and the next launch has begun at `first`."""
    reducer = joined(1)
    feed(reducer, 0, rows("a", range(10)))
    reducer.join(0, 1, "M", 1.0)
    feed(reducer, 0, rows("a", [first, first + 1], 7.0), launch="M")
    return reducer


def test_nothing_is_told_of_the_steps_from_the_newer_launchs_first_one_on() -> None:
    reducer = relaunched()
    items = feed(reducer, 0, rows("ab", [3, 5, 6, 4, 50], 1.0, 2.0), launch="L")
    assert values(items) == {("a", 3): 1.0, ("b", 3): 2.0, ("a", 4): 1.0, ("b", 4): 2.0}
    assert [item.generation for item in items if isinstance(item, Points)] == [0]
    assert (reducer.superseded, reducer.late, reducer.journaled) == (6, 4, 10 + 2 + 4)


def test_what_comes_before_the_newer_launch_logs_is_told_and_rewound() -> None:
    """Also where it has come further than the run was when the newer launch began."""
    reducer = joined(1)
    feed(reducer, 0, rows("a", range(10)))
    reducer.join(0, 1, "M", 1.0)
    items = feed(reducer, 0, rows("a", range(10, 20)), launch="L")
    assert [step for _, step in values(items)] == list(range(10, 20))
    assert feed(reducer, 0, rows("a", [15]), launch="M")[0] == Rewind(15, 1)
    assert reducer.climb.before == 9, "ranks of a launch count on from one step, whenever they ask"
    assert reducer.climb.top == 19
    assert reducer.superseded == 0


def test_a_launch_is_superseded_by_each_newer_one() -> None:
    """By the lowest of their steps, and by what the one between has told late, too."""
    reducer = relaunched(first=5)
    reducer.join(0, 1, "N", 2.0)
    feed(reducer, 0, rows("a", [8]), launch="N")
    assert values(feed(reducer, 0, rows("a", [4, 7, 8]), launch="M")) == {("a", 4): 0.0, ("a", 7): 0.0}
    assert values(feed(reducer, 0, rows("a", [3, 4, 5]), launch="L")) == {("a", 3): 0.0}
    assert reducer.superseded == 3


def test_it_is_the_same_after_a_restart() -> None:
    one = relaunched()
    feed(one, 0, rows("a", [3, 5]), launch="L")
    other = Reducer.restore(ReducerSettings(), one.snapshot())
    said = rows("a", [2, 4, 5, 30])
    assert (
        values(feed(other, 0, said, launch="L"))
        == values(feed(one, 0, said, launch="L"))
        == {
            ("a", 2): 0.0,
            ("a", 4): 0.0,
        }
    )
    assert other.superseded == one.superseded == 3


def test_evaluations_supersede_nothing_and_are_told_beside_each_other() -> None:
    reducer = relaunched()
    define = Define("v", ("mean",), lane="val", own_steps=True)
    feed(reducer, 0, define, rows("v", [0, 1], 1.0), launch="M")
    items = feed(reducer, 0, define, rows("v", [0, 1, 8], 2.0), launch="L")
    assert values(items) == {("v", step): 2.0 for step in (0, 1, 8)}
    assert not any(item.revision for item in items if isinstance(item, Points))
    assert reducer.superseded == 0


@pytest.mark.parametrize("restarted", [False, True])
def test_what_a_launch_has_defined_holds_for_its_ranks_that_live_on(restarted: bool) -> None:
    define = Define("v", ("mean",), lane="val", own_steps=True)
    reducer = joined(1)
    feed(reducer, 0, define, rows("a", range(10)))
    reducer.join(0, 1, "M", 1.0)
    feed(reducer, 0, rows("a", [5]), launch="M")
    if restarted:
        reducer = Reducer.restore(ReducerSettings(), reducer.snapshot())
    later = Define("w", ("mean",), lane="test", own_steps=True)
    items = feed(reducer, 0, rows("v", [5000], 2.0), later, rows("w", [6000], 3.0), launch="L")
    assert values(items) == {("v", 5000): 2.0, ("w", 6000): 3.0}
    assert (reducer.superseded, reducer.climb.top) == (0, 9)
    assert not any(isinstance(item, Rewind) for item in feed(reducer, 0, rows("a", [6]), launch="M"))


def test_series_of_a_rank_beside_reduced_ones_keep_their_names() -> None:
    reducer = relaunched()
    items = feed(reducer, 1, Define("b", (), per_rank=True), rows("ab", [3], 1.0, 2.0), launch="L")
    assert values(items) == {("a", 3): 1.0, ("b/rank1", 3): 2.0}


def test_the_ledger_balances() -> None:
    reducer = joined(2)
    items = [*feed(reducer, 0, rows("a", range(4))), *feed(reducer, 1, rows("a", range(3)))]
    for rank in range(2):
        reducer.join(rank, 2, "M", 1.0)
    items += [*reducer.drain(), *feed(reducer, 0, rows("a", [2]), launch="M")]
    items += feed(reducer, 1, rows("a", range(1, 5)), launch="L")
    assert balance(reducer, items)
    assert (reducer.journaled, reducer.superseded) == (4 + 3 + 1 + 1, 3)
