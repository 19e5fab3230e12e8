"""Rows that keep to themselves: lanes, and steps of their own."""

from __future__ import annotations

import pytest

from asynclog_proto.records import Define, End, Pass
from asynclogd.points import Item, Points, Rewind
from asynclogd.reducer import Reducer
from tests.daemon.test_reducer import balance, feed, joined, ranks, rows, values

EVALUATION = Define("v", ("mean",), lane="val", own_steps=True)


def revised(items: list[Item]) -> bool:
    return any(table.revision for table in items if isinstance(table, Points))


def trained(size: int = 2, steps: int = 10) -> Reducer:
    """Ranks that have all come to the last step, and are about to evaluate."""
    reducer = joined(size)
    for rank in range(size):
        feed(reducer, rank, EVALUATION, rows("a", range(steps)))
    return reducer


class TestStepsOfTheirOwn:
    def test_wait_for_a_rank_that_has_come_past_them_in_the_run(self) -> None:
        reducer = trained()
        assert feed(reducer, 0, rows("v", range(4), 1.0)) == []
        assert values(feed(reducer, 1, rows("v", [0, 1], 3.0))) == {("v", 0): 2.0, ("v", 1): 2.0}
        items = feed(reducer, 1, rows("v", [2, 3], 3.0))
        assert values(items) == {("v", 2): 2.0, ("v", 3): 2.0}
        assert not revised(items)
        assert reducer.late == reducer.open_values() == 0

    def test_of_several_evaluations_in_one_commit_are_told_one_by_one(self) -> None:
        reducer = trained()
        for value in (1.0, 2.0, 3.0):
            for rank in range(2):
                reducer.feed(rank, "L", [rows("v", [0, 1], value)], 0.0)
        items = [table for table in reducer.drain() if isinstance(table, Points)]
        told = [(point.step, point.value, point.ranks) for table in items for point in table]
        assert told == [(step, value, 2) for value in (1.0, 2.0, 3.0) for step in (0, 1)]

    def test_pass_no_step_of_the_run(self) -> None:
        reducer = trained(steps=3)
        for rank in range(2):
            feed(reducer, rank, rows("v", range(100)), Pass(99))
        assert feed(reducer, 0, rows("a", [3])) == []
        assert ranks(feed(reducer, 1, rows("a", [3]))) == {("a", 3): 2}

    def test_close_without_a_rank_that_has_gone_on_in_the_run(self) -> None:
        reducer = trained()
        feed(reducer, 0, rows("v", [0, 5]), rows("a", [10]))
        assert ranks(feed(reducer, 1, rows("v", [0]))) == {("v", 0): 2}
        assert ranks(feed(reducer, 1, rows("a", [10]))) == {("a", 10): 2, ("v", 5): 1}

    def test_close_without_a_rank_when_all_have_flushed(self) -> None:
        reducer = trained()
        for evaluation in range(2):
            feed(reducer, 0, rows("v", [0, 5]))
            assert feed(reducer, 0, Pass(9)) == []
            assert ranks(feed(reducer, 1, rows("v", [0]), Pass(9))) == {("v", 0): 2, ("v", 5): 1}, evaluation

    def test_close_in_a_process_that_does_nothing_but_evaluate(self) -> None:
        reducer = joined(2)
        assert feed(reducer, 0, EVALUATION, rows("ve", [0, 1], 1.0, 4.0)) == []
        items = feed(reducer, 1, EVALUATION, rows("ve", [0, 1], 3.0, 4.0))
        assert values(items) == {("v", 0): 2.0, ("e", 0): 4.0, ("v", 1): 2.0, ("e", 1): 4.0}

    def test_begin_anew_with_the_next_evaluation(self) -> None:
        reducer = trained()
        items: list[Item] = []
        for value in (1.0, 5.0):
            feed(reducer, 0, rows("v", range(3), value))
            new = feed(reducer, 1, rows("v", range(3), value + 1))
            assert values(new) == {("v", step): value + 0.5 for step in range(3)}
            items += new
        assert not revised(items)

    def test_that_a_rank_gives_late_are_revised(self) -> None:
        reducer = trained(3)
        for rank in range(2):
            feed(reducer, rank, rows("v", [0], float(rank)))
        reducer.leave(2, "L", 1.0)
        assert ranks(reducer.drain()) == {("v", 0): 2}
        reducer.join(2, 3, "L", 2.0)
        (points,) = feed(reducer, 2, rows("v", [0], 5.0))
        assert isinstance(points, Points)
        assert points.revision
        assert points.values.tolist() == [[2.0]]

    def test_cost_a_silent_rank_one_deadline(self) -> None:
        reducer = trained()
        feed(reducer, 0, rows("v", range(5)), now=1.0)
        feed(reducer, 1, rows("v", [0]), now=1.0)
        reducer.advance(31.0)
        assert ranks(reducer.drain()) == {("v", step): 1 for step in range(1, 5)}
        assert ranks(feed(reducer, 0, rows("v", [5]), now=32.0)) == {("v", 5): 1}
        assert ranks(feed(reducer, 0, rows("a", [10]), now=32.0)) == {("a", 10): 1}
        feed(reducer, 1, rows("a", [10]), now=33.0)
        assert feed(reducer, 0, rows("a", [11]), now=33.0) == []

    def test_that_a_rank_has_none_of_do_not_suspend_it(self) -> None:
        reducer = trained()
        feed(reducer, 0, rows("v", range(5)), now=1.0)
        reducer.advance(31.0)
        assert ranks(reducer.drain()) == {("v", step): 1 for step in range(5)}
        assert feed(reducer, 0, rows("a", [10]), now=32.0) == []

    def test_close_at_the_end(self) -> None:
        reducer = trained()
        items = feed(reducer, 0, rows("v", [0, 1]), End("success"))
        items += feed(reducer, 1, rows("v", [0]), End("success"))
        assert ranks(items) == {("v", 0): 2, ("v", 1): 1}
        assert reducer.open_values() == 0

    def test_survive_a_snapshot(self) -> None:
        before = trained()
        feed(before, 0, rows("ve", range(3), 1.0, 1.0), Pass(9))
        feed(before, 1, rows("ve", [0], 3.0, 1.0))
        after = Reducer.restore(before.settings, before.snapshot())
        assert after.snapshot() == before.snapshot()
        for said in ([rows("ve", [1], 3.0, 1.0)], [rows("ve", [0], 3.0, 1.0)], [Pass(9)]):
            assert values(feed(after, 1, *said)) == values(feed(before, 1, *said))
        assert after.snapshot() == before.snapshot()


class TestGenerations:
    @pytest.mark.parametrize("size", [1, 2])
    def test_steps_of_their_own_supersede_nothing_but_those_of_the_run_do(self, size: int) -> None:
        reducer = trained(size)
        items: list[Item] = []
        for rank in range(size):
            reducer.join(rank, size, "M", 10.0)
        for said in ([EVALUATION, rows("ve", [0])], [rows("ve", [1]), rows("a", [5, 6])]):
            for rank in range(size):
                items += feed(reducer, rank, *said, now=11.0, launch="M")
        assert [item for item in items if isinstance(item, Rewind)] == [Rewind(5, 1)]
        before = items[: items.index(Rewind(5, 1))]
        assert set(values(before)) >= {("v", 0), ("e", 0)}
        assert set(values(items)) == {("v", 0), ("e", 0), ("v", 1), ("e", 1), ("a", 5), ("a", 6)}

    def test_steps_of_their_own_are_superseded_by_none_of_the_run(self) -> None:
        reducer = joined(1)
        feed(reducer, 0, EVALUATION, rows("v", range(50)), rows("a", range(10)))
        reducer.join(0, 1, "M", 1.0)
        assert not any(isinstance(item, Rewind) for item in feed(reducer, 0, rows("a", [10]), launch="M"))


class TestLanes:
    def test_keep_rows_of_several_kinds_apart_that_have_a_name_in_common(self) -> None:
        reducer = joined(2)
        defines = [Define("v", ("mean",), lane="val"), Define("t", ("mean",), lane="train")]
        items: list[Item] = []
        for rank in range(2):
            said = [rows("ae", [4, 5], 1.0, 7.0), rows("ve", [5], 2.0, 7.0), rows("te", [5], 3.0, 7.0)]
            items += feed(reducer, rank, *defines, *said)
        names = [table.names for table in items if isinstance(table, Points) for _ in table.steps]
        assert sorted(names) == [("a", "e"), ("a", "e"), ("t", "e"), ("v", "e")]
        assert not revised(items)
        assert balance(reducer, items)

    def test_a_call_that_is_reduced_in_several_ways_is_one_table(self) -> None:
        for size in (1, 2):
            reducer = joined(size)
            items: list[Item] = []
            for rank in range(size):
                defines = [Define("h", ("max",)), Define("s", ("sum", "min"))]
                items += feed(reducer, rank, *defines, rows("ahs", [0, 1], 1.0, 2.0, 3.0, time=float(rank)))
            (points,) = items
            assert isinstance(points, Points)
            assert points.names == ("a", "h", "s", "s/min")
            assert points.values.tolist() == [[1.0, 2.0, 3.0 * size, 3.0]] * 2
            assert points.holders is not None
            assert points.holders.tolist() == [[-1, 0, -1, 0]] * 2
            assert balance(reducer, items)

    def test_calls_of_different_times_stay_apart(self) -> None:
        reducer = joined(2)
        items: list[Item] = []
        for rank in range(2):
            items += feed(reducer, rank, Define("h", ("max",)), rows("a", [0], time=1.0), rows("h", [0], time=2.0))
        assert [table.names for table in items if isinstance(table, Points)] == [("a",), ("h",)]
