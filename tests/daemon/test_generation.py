"""How steps of one launch close, and what is late, flushed, held and asked for meanwhile."""

from __future__ import annotations

import math
from typing import Any

import pytest

from asynclog_proto.records import Define, End, Hold, Pass
from asynclog_proto.records import Params as SaidParams
from asynclog_proto.records import Summary as SaidSummary
from asynclogd.points import Item, Params, Points, Summary
from asynclogd.reducer import Reducer, ReducerSettings
from asynclogd.rows import Rows
from asynclogd.standing import Standing
from tests.daemon.test_reducer import balance, feed, joined, ranks, rows, values


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
        assert reducer._current is not None
        (table,) = reducer._current.window.columns.tables.values()
        assert table.slots.capacity <= 1024
        assert ranks(feed(reducer, 0, rows("a", [9190]))) == {("a", 9190): 2}


def _rest(table: Rows) -> tuple[Any, ...]:
    return table.steps, table.times, table.weights, table.values


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
