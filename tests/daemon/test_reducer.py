from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from asynclog_proto.records import Define, End
from asynclog_proto.records import Rewind as SaidRewind
from asynclogd.points import Item, Points, Rewind, RunEnd
from asynclogd.reducer import Reducer, ReducerSettings
from asynclogd.rows import Rows


def rows(names: str, steps: list[int] | range, *values: float, time: float = 0.0, weight: float = 1.0) -> Rows:
    """Rows of one-letter names; `values` are the names', the same at each step."""
    chosen = values or tuple(float(index) for index in range(len(names)))
    count = len(steps)
    return Rows(
        tuple(names),
        np.array(steps, np.int64),
        np.full(count, time),
        np.full(count, weight),
        np.tile(np.array(chosen, np.float64), (count, 1)),
    )


def joined(size: int, settings: ReducerSettings | None = None) -> Reducer:
    reducer = Reducer(settings)
    for rank in range(size):
        reducer.join(rank, size, "L", 0.0)
    return reducer


def feed(reducer: Reducer, rank: int, *said: Any, now: float = 0.0, launch: str = "L") -> list[Item]:
    reducer.feed(rank, launch, list(said), now)
    return reducer.drain()


def values(items: list[Item]) -> dict[tuple[str, int], float]:
    return {(point.name, point.step): point.value for table in items if isinstance(table, Points) for point in table}


def ranks(items: list[Item]) -> dict[tuple[str, int], int]:
    return {(point.name, point.step): point.ranks for table in items if isinstance(table, Points) for point in table}


def balance(reducer: Reducer, items: list[Item]) -> bool:
    accounted = sum(item.logged_total for item in items if isinstance(item, Points))
    return reducer.journaled == accounted + reducer.open_values()


class TestOneRank:
    def test_rows_pass_straight_through(self) -> None:
        reducer = joined(1)
        (points,) = feed(reducer, 0, rows("ab", [3, 1, 3], 7.0, math.nan))
        assert isinstance(points, Points)
        assert points.steps.tolist() == [3, 1, 3]
        assert (points.ranks == 1).all()
        assert (points.logged == 1).all()
        assert points.world == 1
        assert reducer.open_values() == 0
        assert reducer.next_deadline() is None

    def test_each_reduction_of_a_list_has_its_series(self) -> None:
        reducer = joined(1)
        define = Define("a", ("mean", "min", "std"), per_rank=True)
        items = feed(reducer, 0, define, rows("a", [0], 5.0))
        assert values(items) == {("a", 0): 5.0, ("a/min", 0): 5.0, ("a/std", 0): 0.0, ("a/rank0", 0): 5.0}
        assert balance(reducer, items)


class TestReductions:
    @pytest.mark.parametrize(
        ("reduce", "expected", "holder"),
        [
            ("mean", (1 * 3 + 3 * 1) / 4, None),
            ("sum", 4.0, None),
            ("min", 1.0, 0),
            ("max", 3.0, 1),
            ("std", 1.0, None),
            ("first", 3.0, None),
            ("last", 1.0, None),
        ],
    )
    def test_of_two_ranks(self, reduce: str, expected: float, holder: int | None) -> None:
        reducer = joined(2)
        feed(reducer, 0, Define("*", (reduce,)), rows("a", [0], 1.0, time=9.0, weight=3.0))
        (points,) = feed(reducer, 1, rows("a", [0], 3.0, time=8.0))
        assert isinstance(points, Points)
        assert points.values.tolist() == [[expected]]
        assert (None if points.holders is None else points.holders.tolist()) == (None if holder is None else [[holder]])
        assert points.times.tolist() == [9.0]

    def test_a_mean_keeps_what_a_plain_sum_would_lose(self) -> None:
        reducer = joined(3)
        items = [
            item for rank, value in enumerate([1e16, 1.0, -1e16]) for item in feed(reducer, rank, rows("a", [0], value))
        ]
        assert values(items) == {("a", 0): 1 / 3}

    @pytest.mark.parametrize("reduce", ["mean", "sum", "min", "max"])
    @pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
    def test_nan_and_infinity_stay_visible(self, reduce: str, odd: float) -> None:
        reducer = joined(3)
        feed(reducer, 0, Define("*", (reduce,)), rows("a", [0], 1.0))
        feed(reducer, 1, rows("a", [0], odd))
        found = values(feed(reducer, 2, rows("a", [0], 2.0)))["a", 0]
        hidden = (reduce == "min" and odd > 0) or (reduce == "max" and odd < 0)
        assert hidden or found == odd or (math.isnan(found) and math.isnan(odd))
        assert not hidden or found in {1.0, 2.0}

    def test_several_values_of_a_rank_all_count_but_it_counts_once(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("a", [0, 0, 0], 1.0), rows("a", [0], 5.0))
        (points,) = feed(reducer, 1, rows("a", [0], 2.0))
        assert isinstance(points, Points)
        assert points.values.tolist() == [[2.0]]
        assert points.ranks.tolist() == [[2]]
        assert points.logged.tolist() == [[5]]

    def test_none_leaves_only_the_series_of_each_rank(self) -> None:
        reducer = joined(2)
        items = feed(reducer, 0, Define("*", ("none",)), rows("a", [0, 0]))
        items += feed(reducer, 1, rows("a", [5], 2.0))
        assert values(items) == {("a/rank0", 0): 0.0, ("a/rank1", 5): 2.0}
        assert balance(reducer, items)
        assert reducer.open_values() == 0


class TestDefines:
    def test_the_last_that_matches_wins(self) -> None:
        reducer = joined(2)
        defines = [Define("*", ("max",)), Define("a", ("sum",)), Define("[ab]", ("min",)), Define("b", ("last",))]
        feed(reducer, 0, *defines, rows("abc", [0], 1.0, 1.0, 1.0, time=2.0))
        items = feed(reducer, 1, *defines, rows("abc", [0], 3.0, 3.0, 3.0, time=1.0))
        assert values(items) == {("a", 0): 1.0, ("b", 0): 1.0, ("c", 0): 3.0}

    def test_one_that_comes_late_is_for_steps_that_open_later(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("ab", [0, 1], 1.0, 1.0))
        feed(reducer, 0, Define("a", ("max",)), rows("ab", [1, 2], 3.0, 3.0))
        items = feed(reducer, 1, rows("ab", [0, 1, 2], 2.0, 2.0))
        mean = (1 + 3 + 2) / 3
        assert values(items) == {
            ("a", 0): 1.5, ("a", 1): mean, ("a", 2): 3.0, ("b", 0): 1.5, ("b", 1): mean, ("b", 2): 2.5,
        }  # fmt: skip
        assert balance(reducer, items)
        items += feed(reducer, 0, rows("ab", [0, 3], 9.0, 9.0))
        assert balance(reducer, items)

    def test_survive_a_snapshot_with_their_open_steps(self) -> None:
        before = joined(2)
        feed(before, 0, rows("ab", [0, 1], 1.0, 1.0))
        feed(before, 0, Define("a", ("max", "none")), rows("ba", [1, 2], 3.0, 3.0), Define("b", ("sum",)))
        after = Reducer.restore(before.settings, before.snapshot())
        said = (rows("ab", [0, 1, 2], 2.0, 2.0), rows("ab", [3]))
        assert values(feed(after, 1, *said)) == values(feed(before, 1, *said))
        assert after.snapshot() == before.snapshot()


class TestGenerations:
    def test_a_new_launch_closes_what_is_open_and_rewinds_the_run(self) -> None:
        reducer = joined(4)
        feed(reducer, 0, rows("a", range(10), 1.0))
        for rank in range(2):
            reducer.join(rank, 2, "M", 10.0)
        assert ranks(reducer.drain()) == {("a", step): 1 for step in range(10)}
        assert feed(reducer, 0, rows("a", range(5, 8), 2.0), now=11.0, launch="M") == []
        items = feed(reducer, 1, rows("a", range(5, 8), 4.0), now=12.0, launch="M")
        assert items[0] == Rewind(5, 1)
        assert values(items) == {("a", step): 3.0 for step in range(5, 8)}
        (points,) = items[1:]
        assert isinstance(points, Points)
        assert (points.world, points.generation, points.revision) == (2, 1, False)

    def test_one_that_goes_on_where_the_last_stopped_rewinds_nothing(self) -> None:
        reducer = joined(1)
        feed(reducer, 0, rows("a", range(10)))
        reducer.join(0, 1, "M", 1.0)
        assert not any(isinstance(item, Rewind) for item in feed(reducer, 0, rows("a", [10]), launch="M"))

    def test_a_rank_that_says_so_rewinds_the_run_between_its_rows(self) -> None:
        before, rewind, after = feed(joined(1), 0, rows("a", [7]), SaidRewind(5), rows("a", [5]))
        assert (values([before]), rewind, values([after])) == ({("a", 7): 0.0}, Rewind(5, 0), {("a", 5): 0.0})

    def test_late_rows_of_an_old_launch_are_accounted_for(self) -> None:
        reducer = joined(2)
        items = feed(reducer, 0, rows("a", [0]))
        reducer.join(0, 1, "M", 1.0)
        reducer.join(1, 2, "L", 1.0)
        items += feed(reducer, 1, rows("ab", [3, 4]), End("failed"), launch="L")
        assert balance(reducer, items)
        assert reducer.late == 4
        reducer.leave(0, "M", 2.0)
        assert reducer.drain() == [RunEnd("killed")]

    def test_rows_of_a_launch_that_never_joined_are_an_error(self) -> None:
        with pytest.raises(ValueError, match="never"):
            feed(joined(1), 0, rows("a", [0]), launch="never")


class TestTheEnd:
    def test_ranks_that_all_ended_are_all_waited_for_when_they_rejoin_their_launch(self) -> None:
        reducer = Reducer()
        for life in range(2):
            for rank in range(2):
                reducer.join(rank, 2, "L+", 0.0)
                # Another process of the rank may count from 0 again; nobody is past it.
                assert values(feed(reducer, rank, rows("ab"[life], [0, 9 - life], float(rank)), launch="L+")) == (
                    {} if rank == 0 else {("ab"[life], 0): 0.5, ("ab"[life], 9 - life): 0.5}
                )
            for rank in range(2):
                feed(reducer, rank, End("success"), launch="L+")
        assert not any(isinstance(item, Rewind) for item in reducer.drain())

    def test_a_process_that_goes_on_alone_after_the_ranks_of_its_launch_waits_for_none_of_them(self) -> None:
        reducer = Reducer()
        for size, step in ((2, 0), (1, 1), (2, 2)):
            for rank in range(size):
                reducer.join(rank, size, "L+", 0.0)
                told = values(feed(reducer, rank, rows("a", [step], float(rank)), launch="L+"))
                assert told == ({("a", step): rank / 2} if rank == size - 1 else {})
            reducer = Reducer.restore(reducer.settings, reducer.snapshot())
            for rank in range(size):
                feed(reducer, rank, End("success"), launch="L+")

    def test_a_process_that_was_alone_in_its_launch_is_a_rank_of_those_that_come(self) -> None:
        reducer = Reducer()
        reducer.join(0, 1, "L+", 0.0)
        assert values(feed(reducer, 0, rows("a", [0], 4.0), launch="L+")) == {("a", 0): 4.0}
        for rank in range(2):
            reducer.join(rank, 2, "L+", 1e6)
            reducer.advance(1e6 + rank)  # it was alone for long, and the next is waited for all the same
            told = values(feed(reducer, rank, rows("a", [1], float(rank)), launch="L+"))
            assert told == ({("a", 1): 0.5} if rank == 1 else {})

    def test_what_it_had_come_to_says_nothing_of_the_process_that_comes_in_its_place(self) -> None:
        reducer = Reducer()
        reducer.join(0, 1, "L+", 0.0)
        feed(reducer, 0, rows("a", [9]), launch="L+")
        for rank in range(2):
            reducer.join(rank, 2, "L+", 0.0)
        evaluated = Define("b", ("mean",), own_steps=True)
        assert feed(reducer, 1, evaluated, rows("b", [5], 1.0), rows("a", [0]), launch="L+") == []
        told = values(feed(reducer, 0, evaluated, rows("b", [5], 2.0), rows("a", [0]), launch="L+"))
        assert told[("b", 5)] == 1.5

    @pytest.mark.parametrize(
        ("statuses", "worst"),
        [
            (("success", "success"), "success"),
            (("success", None), "killed"),
            (("failed", None), "failed"),
            (("killed", "success"), "killed"),
            (("success", "interrupted"), "interrupted"),
            (("interrupted", None), "killed"),
        ],
    )
    def test_is_told_once_with_the_worst_status(self, statuses: tuple[str | None, str | None], worst: str) -> None:
        reducer = joined(2)
        items = feed(reducer, 0, rows("a", [0, 1]))
        for rank, status in enumerate(statuses):
            if status is not None:
                items += feed(reducer, rank, End(status))
            reducer.leave(rank, "L", 1.0)
        items += reducer.drain()
        assert items[-1] == RunEnd(worst)
        assert sum(isinstance(item, RunEnd) for item in items) == 1
        assert ranks(items[:-1]) == {("a", 0): 1, ("a", 1): 1}

    def test_waits_for_ranks_that_may_still_join(self) -> None:
        reducer = Reducer()
        reducer.join(0, 2, "L", 0.0)
        assert feed(reducer, 0, rows("a", [0]), End("success")) == []
        reducer.advance(5.0)
        assert reducer.drain()[-1] == RunEnd("success")

    def test_comes_again_for_a_run_that_is_resumed(self) -> None:
        reducer = joined(1)
        assert feed(reducer, 0, End("failed")) == [RunEnd("failed")]
        reducer.join(0, 1, "M", 1.0)
        assert feed(reducer, 0, End("success"), launch="M") == [RunEnd("success")]


def test_restoring_something_else_is_an_error() -> None:
    for blob in (b"", b"\xc0", b"\x81\xa7version\x00", b"\x81\xa7version\x01", b"\xff" * 9):
        with pytest.raises(ValueError, match="snapshot"):
            Reducer.restore(ReducerSettings(), blob)
