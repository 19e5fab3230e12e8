from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from asynclog_proto.records import Define, End, Hold, Pass
from asynclog_proto.records import Params as SaidParams
from asynclog_proto.records import Rewind as SaidRewind
from asynclog_proto.records import Summary as SaidSummary
from asynclogd.points import Item, Params, Points, Rewind, RunEnd, Summary
from asynclogd.reducer import Reducer, ReducerSettings
from asynclogd.rows import Rows
from asynclogd.standing import Standing


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


class TestClosing:
    def test_a_step_closes_when_every_rank_has_given_it(self) -> None:
        reducer = joined(2)
        assert feed(reducer, 0, rows("ab", range(10))) == []
        assert (reducer.open_values(), reducer.open_values(0), reducer.open_values(1)) == (20, 20, 0)
        (points,) = feed(reducer, 1, rows("ab", range(10)))
        assert isinstance(points, Points)
        assert points.values.shape == (10, 2)
        assert reducer.open_values() == 0

    def test_or_when_the_others_are_past_it(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("ab", [0]))
        assert ranks(feed(reducer, 1, rows("a", [0]))) == {("a", 0): 2}
        assert ranks(feed(reducer, 1, rows("a", [1]))) == {("b", 0): 1}

    def test_each_metric_closes_by_itself_at_the_last_step(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("abc", [0]))
        assert ranks(feed(reducer, 1, rows("b", [0]))) == {("b", 0): 2}
        items = feed(reducer, 1, rows("b", [0], 9.0))
        assert [(table.revision, table.logged.tolist()) for table in items if isinstance(table, Points)] == [
            (True, [[1]])
        ]
        assert ranks(feed(reducer, 1, rows("c", [0]))) == {("c", 0): 2}
        assert reducer.open_values() == reducer.open_values(0) == 1

    def test_a_dead_rank_is_not_waited_for(self) -> None:
        reducer = joined(3)
        feed(reducer, 0, rows("a", [0, 1]))
        feed(reducer, 1, rows("a", [0]))
        reducer.leave(2, "L", 1.0)
        assert ranks(reducer.drain()) == {("a", 0): 2}
        assert ranks(feed(reducer, 1, End("success"))) == {("a", 1): 1}

    def test_a_silent_rank_costs_one_deadline(self) -> None:
        reducer = joined(2)
        for rank in range(2):
            feed(reducer, rank, rows("a", [0]), now=1.0)
        for step in range(1, 40):
            assert feed(reducer, 0, rows("a", [step]), now=float(step)) == []
        assert reducer.next_deadline() == 31.0
        reducer.advance(31.0)
        assert ranks(reducer.drain()) == {("a", step): 1 for step in range(1, 40)}
        assert reducer.next_deadline() is None
        assert ranks(feed(reducer, 0, rows("a", [40]), now=41.0)) == {("a", 40): 1}
        late = feed(reducer, 1, rows("a", range(1, 41)), now=42.0)
        assert ranks(late) == {("a", step): 2 for step in range(1, 41)}
        assert all(table.revision for table in late if isinstance(table, Points))
        assert feed(reducer, 0, rows("a", [41]), now=43.0) == []
        assert ranks(feed(reducer, 1, rows("a", [41]), now=43.0)) == {("a", 41): 2}

    def test_a_rank_that_reached_the_step_is_not_suspended_for_a_metric_that_it_lacks(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("ab", [0]))
        feed(reducer, 1, rows("a", [0]))
        reducer.advance(30.0)
        assert ranks(reducer.drain()) == {("b", 0): 1}
        assert feed(reducer, 0, rows("a", [1]), now=60.0) == []
        assert ranks(feed(reducer, 1, rows("a", [1]), now=60.0)) == {("a", 1): 2}

    def test_ranks_that_have_not_joined_are_waited_for_until_the_join_deadline(self) -> None:
        reducer = Reducer()
        reducer.join(0, 2, "L", 0.0)
        assert feed(reducer, 0, rows("a", [0, 1]), now=1.0) == []
        assert reducer.next_deadline() == 5.0
        reducer.advance(5.0)
        assert ranks(reducer.drain()) == {("a", 0): 1, ("a", 1): 1}

    def test_ranks_that_say_nothing_are_waited_for_until_the_join_deadline(self) -> None:
        reducer = joined(2)
        assert reducer.next_deadline() is None
        assert feed(reducer, 0, rows("a", [0]), now=100.0) == []
        assert reducer.next_deadline() == 105.0
        reducer.advance(105.0)
        assert ranks(reducer.drain()) == {("a", 0): 1}
        assert ranks(feed(reducer, 0, rows("a", [1]), now=106.0)) == {("a", 1): 1}

    def test_another_incarnation_goes_on(self) -> None:
        reducer = joined(2)
        for rank in range(2):
            feed(reducer, rank, rows("a", [0]))
        reducer.leave(1, "L", 1.0)
        reducer.join(1, 2, "L", 2.0)
        assert feed(reducer, 0, rows("a", [1]), now=3.0) == []
        assert ranks(feed(reducer, 1, rows("a", [1]), now=4.0)) == {("a", 1): 2}

    def test_a_rank_outside_the_world_makes_it_larger(self) -> None:
        reducer = joined(1)
        feed(reducer, 0, rows("a", [0]))
        reducer.join(9, 10, "L", 0.0)
        feed(reducer, 0, rows("a", [1]))
        reducer.join(69, 70, "L", 0.0)
        reducer.advance(5.0)
        items = feed(reducer, 9, rows("a", [1]), now=5.0) + feed(reducer, 69, rows("a", [1]), now=5.0)
        assert ranks(items) == {("a", 1): 3}
        assert {table.world for table in items if isinstance(table, Points)} == {70}


class TestLate:
    SETTINGS = ReducerSettings(history_steps=4)

    def closed(self) -> Reducer:
        reducer = joined(2, self.SETTINGS)
        feed(reducer, 0, rows("a", range(10), 1.0))
        feed(reducer, 1, rows("a", range(1, 10), 1.0))
        return reducer

    def test_values_are_merged_into_a_revision(self) -> None:
        reducer = self.closed()
        (points,) = feed(reducer, 0, rows("a", [8], 4.0, time=50.0))
        assert isinstance(points, Points)
        assert points.revision
        assert points.values.tolist() == [[2.0]]
        assert points.logged.tolist() == [[1]]
        assert points.times.tolist() == [50.0]
        assert reducer.late == 1

    def test_each_revision_is_later_than_what_it_replaces(self) -> None:
        """By whole ms, whatever clocks said: products show the latest, and of equal times the greatest."""
        reducer = self.closed()
        told = [feed(reducer, 1, rows("a", [8], value, time=-1.0)) for value in (-4.0, -9.0, -9.5)]
        times = [float(points.times[0]) for (points,) in told if isinstance(points, Points)]
        assert times == pytest.approx([0.002, 0.004, 0.006])

    def test_so_is_one_of_a_series_whose_step_is_still_open_for_others(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("ab", [0], 1.0, 1.0))
        told = [feed(reducer, 1, rows("a", [0], value)) for value in (1.0, 5.0, 3.0)]
        (first, *revisions) = [points for (points,) in told if isinstance(points, Points)]
        assert not first.revision
        assert all(points.revision for points in revisions)
        assert [float(points.times[0]) for points in revisions] == pytest.approx([0.002, 0.004])

    def test_long_after_they_are_told_alone(self) -> None:
        reducer = self.closed()
        (points,) = feed(reducer, 1, rows("a", [0], 4.0))
        assert isinstance(points, Points)
        assert points.revision
        assert points.values.tolist() == [[4.0]]
        assert points.ranks.tolist() == [[1]]

    def test_the_first_value_of_a_metric_at_a_closed_step_revises_nothing(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("ab", [0]), rows("a", [1]))
        feed(reducer, 1, rows("a", range(3)))
        feed(reducer, 0, rows("a", [5]))
        (points,) = feed(reducer, 1, rows("b", [1]))
        assert isinstance(points, Points)
        assert not points.revision


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


class TestFacts:
    def test_only_what_is_new_or_changed_is_told(self) -> None:
        reducer = joined(2)
        said = SaidParams({"lr": 0.1, "nan": math.nan, "on": True})
        first = feed(reducer, 0, said, SaidSummary({"best": 1}))
        assert [type(item) for item in first] == [Params, Summary]
        assert feed(reducer, 1, said, SaidSummary({"best": 1})) == []
        assert feed(reducer, 1, SaidParams({"lr": 0.1, "on": 1}), SaidSummary({"best": 2.0})) == [
            Params({"on": 1}),
            Summary({"best": 2.0}),
        ]


class TestCaps:
    def test_the_oldest_steps_close_early_beyond_max_open_steps(self) -> None:
        reducer = joined(2, ReducerSettings(max_open_steps=10))
        items = feed(reducer, 0, rows("a", range(25)))
        assert ranks(items) == {("a", step): 1 for step in range(15)}
        assert reducer.closed_early == 15
        items += feed(reducer, 1, rows("a", range(25)))
        assert balance(reducer, items)
        assert ranks(items) == {("a", step): 2 for step in range(25)}

    def test_memory_stays_under_max_bytes(self) -> None:
        reducer = joined(2, ReducerSettings(max_bytes=200_000))
        items: list[Item] = []
        for step in range(0, 4000, 100):
            items += feed(reducer, 0, rows("abcd", range(step, step + 100)))
        assert len(reducer.snapshot()) < 250_000
        assert balance(reducer, items)
        assert reducer.closed_early > 0
        restored = Reducer.restore(reducer.settings, reducer.snapshot())
        said = rows("abcd", range(4000, 4100))
        assert values(feed(restored, 0, said)) == values(feed(reducer, 0, said))

    def test_names_that_come_and_go_do_not_pile_up(self) -> None:
        reducer = joined(2, ReducerSettings(max_names=20))
        items: list[Item] = []
        for step in range(100):
            table = rows("ab", [step])
            for rank in range(2):
                items += feed(reducer, rank, Rows((f"x{step}", f"y{step}"), *_rest(table)), now=float(step))
        assert balance(reducer, items)
        assert ranks(items) == {(f"{letter}{step}", step): 2 for letter in "xy" for step in range(100)}
        assert len(reducer.snapshot()) < 40_000

    def test_a_table_that_was_large_once_gets_smaller(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("a", range(9000)))
        feed(reducer, 1, rows("a", range(9000)))
        for step in range(9000, 9200):
            for rank in range(2):
                feed(reducer, rank, rows("a", [step]))
        (table,) = reducer._window.columns.tables.values()
        assert table.slots.capacity <= 1024
        assert ranks(feed(reducer, 0, rows("a", [9190]))) == {("a", 9190): 2}


def _rest(table: Rows) -> tuple[Any, ...]:
    return table.steps, table.times, table.weights, table.values


def test_restoring_something_else_is_an_error() -> None:
    for blob in (b"", b"\xc0", b"\x81\xa7version\x00", b"\x81\xa7version\x01", b"\xff" * 9):
        with pytest.raises(ValueError, match="snapshot"):
            Reducer.restore(ReducerSettings(), blob)


class TestFlushes:
    def test_a_step_that_only_some_have_logged_closes_when_all_have_flushed(self) -> None:
        reducer = joined(2)
        assert values(feed(reducer, 0, rows("a", [3], 1.0), Pass(3))) == {}
        assert (reducer.open_values(0), reducer.open_values(0, 2), reducer.open_values(0, 3)) == (1, 0, 1)
        assert values(feed(reducer, 1, rows("b", [3], 2.0), Pass(3))) == {("a", 3): 1.0, ("b", 3): 2.0}
        assert reducer.next_deadline() is None

    def test_one_that_has_logged_less_has_passed_the_others_steps_with_its_flush(self) -> None:
        reducer = joined(3)
        feed(reducer, 0, rows("a", range(5), 1.0), Pass(4))
        feed(reducer, 1, rows("a", [0], 3.0), Pass(0))
        assert values(feed(reducer, 2, Pass(-1))) == {("a", 0): 2.0, **{("a", step): 1.0 for step in range(1, 5)}}

    def test_a_rank_that_is_a_flush_ahead_closes_nothing_that_another_is_about_to_log(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("a", [5], 1.0), Pass(5))
        feed(reducer, 1, rows("a", [5], 1.0))
        feed(reducer, 0, rows("a", [6], 2.0), Pass(6))
        assert values(feed(reducer, 1, Pass(5))) == {}
        assert values(feed(reducer, 1, rows("a", [6], 4.0))) == {("a", 6): 3.0}
        assert reducer.late == 0

    def test_rows_after_a_flush_are_ordinary_where_they_are_higher_and_late_where_they_are_not(self) -> None:
        reducer = joined(2)
        for rank in range(2):
            feed(reducer, rank, rows("a", [3], 1.0), Pass(3))
        assert values(feed(reducer, 0, rows("a", [4], 1.0))) == {}
        assert values(feed(reducer, 1, rows("a", [4], 2.0))) == {("a", 4): 1.5}
        (revised,) = feed(reducer, 1, rows("a", [3], 4.0))
        assert isinstance(revised, Points)
        assert revised.revision
        assert reducer.late == 1

    def test_who_flushes_alone_waits_for_the_others(self) -> None:
        reducer = joined(2)
        for step in range(100):
            feed(reducer, 0, rows("a", [step], 1.0), Pass(step))
        assert reducer.open_values(0) == 100
        assert len(values(feed(reducer, 1, rows("a", [99], 1.0)))) == 100

    def test_the_dead_are_not_waited_for_and_who_is_back_counts_with_the_others(self) -> None:
        reducer = joined(2)
        for rank in range(2):
            feed(reducer, rank, rows("a", [0], 1.0), Pass(0))
        feed(reducer, 0, rows("a", [1], 1.0), Pass(1))
        reducer.leave(1, "L", 0.0)
        assert values(reducer.drain()) == {("a", 1): 1.0}
        reducer.join(1, 2, "L", 0.0)
        feed(reducer, 0, rows("a", [2], 1.0), Pass(2))
        assert values(feed(reducer, 1, Pass(-1))) == {("a", 2): 1.0}


class TestHolds:
    def test_a_row_of_a_later_step_does_not_close_a_step_whose_values_are_on_their_way(self) -> None:
        reducer = joined(2)
        feed(reducer, 1, rows("a", [0, 1, 2], 3.0))
        assert values(feed(reducer, 0, Hold(0), rows("b", [0, 1, 2], 5.0))) == {("b", 0): 5.0}
        assert values(feed(reducer, 0, rows("a", [0], 1.0), Hold(1))) == {("a", 0): 2.0, ("b", 1): 5.0}
        assert values(feed(reducer, 0, rows("a", [1], 1.0), Hold(None))) == {("a", 1): 2.0}
        assert reducer.late == 0

    def test_a_flush_does_not_pass_what_is_held(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, Hold(4), rows("b", [4], 1.0), Pass(4))
        assert values(feed(reducer, 1, rows("b", [4], 1.0), rows("c", [4], 1.0), Pass(4))) == {("b", 4): 1.0}
        assert values(feed(reducer, 0, Hold(None))) == {("c", 4): 1.0}

    def test_what_never_comes_costs_one_deadline(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, Hold(0), rows("b", [0], 1.0))
        feed(reducer, 1, rows("a", [0], 1.0))
        reducer.advance(31.0)
        assert len(values(reducer.drain())) == 2
        feed(reducer, 0, rows("a", [1, 2], 1.0), now=31.0)
        assert values(feed(reducer, 1, rows("a", [1, 2], 3.0), now=31.0)) == {("a", 1): 2.0, ("a", 2): 2.0}

    def test_who_dies_or_is_back_holds_nothing(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, Hold(0), rows("b", [1], 1.0))
        assert values(feed(reducer, 1, rows("a", [0, 1], 1.0))) == {}
        reducer.leave(0, "L", 0.0)
        assert values(reducer.drain()) == {("a", 0): 1.0, ("a", 1): 1.0}
        reducer.join(0, 2, "L", 0.0)
        feed(reducer, 0, rows("a", [2], 1.0))
        assert values(feed(reducer, 1, rows("a", [2], 1.0))) == {("a", 2): 1.0, ("b", 1): 1.0}


class TestStandings:
    def test_a_step_is_open_until_it_closes_for_the_name(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("ab", [5], 1.0, 2.0))
        assert reducer.standing(0, "a", 5) == Standing(0, 5, open=True, past=False)
        feed(reducer, 1, rows("a", [5], 1.0))
        assert reducer.standing(0, "a", 5) == Standing(0, 5, open=False, past=False)
        assert reducer.standing(0, "b", 5) == Standing(0, 5, open=True, past=False)
        feed(reducer, 0, rows("a", [6], 1.0))
        feed(reducer, 1, rows("a", [6], 1.0))
        assert reducer.standing(1, "b", 5) == Standing(0, 5, open=False, past=True)
        assert reducer.standing(1, "c", 6) == Standing(0, 6, open=False, past=False)

    def test_the_last_step_of_a_name_is_each_ranks_own(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("ab", range(600), 1.0, 2.0))
        feed(reducer, 1, rows("ab", range(400), 1.0, 2.0), rows("a", range(400, 500), 1.0))
        last = [reducer.standing(rank, name, None).step for rank in range(2) for name in "abc"]
        assert last == [599, 599, None, 499, 399, None]

    def test_steps_from_before_a_define_stand_where_they_are(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("a", [3], 1.0), Define("a", ("sum",)))
        assert reducer.standing(0, "a", None) == Standing(0, 3, open=True, past=False)
        feed(reducer, 0, rows("a", [4], 1.0))
        assert reducer.standing(0, "a", 3) == Standing(0, 3, open=True, past=False)
        assert reducer.standing(0, "a", None) == Standing(0, 4, open=True, past=False)
        feed(reducer, 1, rows("a", [4], 1.0))
        assert reducer.standing(0, "a", 3) == Standing(0, 3, open=False, past=True)

    def test_the_last_step_is_known_in_a_world_of_one(self) -> None:
        alone = joined(1)
        feed(alone, 0, rows("ab", [3, 9, 4], 1.0, 2.0))
        feed(alone, 0, rows("a", [10], 1.0))
        alone = Reducer.restore(ReducerSettings(), alone.snapshot())
        assert [alone.standing(0, name, None).step for name in "abc"] == [10, 9, None]

    def test_the_silent_may_go_on_and_the_ended_do_not(self) -> None:
        reducer = joined(2)
        feed(reducer, 0, rows("a", [0], 1.0))
        feed(reducer, 1, rows("a", [1], 1.0))
        reducer.advance(31.0)
        feed(reducer, 1, End("success"), now=31.0)
        assert reducer.standing(0, "b", 1).past
        assert not reducer.standing(0, "b", 2).past
        feed(reducer, 0, End("success"), now=31.0)
        assert reducer.standing(0, "b", 2).past
