"""Rates with a burst: what finds a token goes out at once, and whatever happens the counts and the order hold."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclog_proto.errors import ProtocolError
from asynclogd.points import Points
from asynclogd.ratelimit import RateLimiter
from asynclogd.rates import Rate
from tests.daemon.tables import points as any_points
from tests.daemon.tables import table
from tests.daemon.test_ratelimit import FINITE, runs, series, shaped

RULES = {"a*": Rate(3.0, 4), "b": Rate(0.5, 10, 0.05), "c*": Rate(30.0), "free": Rate()}


def total(tables: list[Points]) -> int:
    return sum(points.logged_total for points in tables)


def at(times: list[float], values: list[float] | None = None) -> Points:
    """A series x, one value a step."""
    points = table(0, k=len(times), names=("x",))
    column = np.arange(len(times), dtype=float) if values is None else np.array(values)
    return Points(("x",), points.steps, np.array(times), column[:, None], points.ranks, points.logged, 1)


def test_a_burst_goes_out_at_once_and_what_is_beyond_is_shaped() -> None:
    limiter = RateLimiter({"x": Rate(1.0, burst=5)})
    (out,) = limiter.shape(at([i / 100 for i in range(20)]))
    assert out.steps.tolist() == [0, 1, 2, 3, 4]
    assert limiter.held == 2 * 2, "of the 15 others the first is the least, and the last the greatest"
    (rest,) = limiter.flush()
    assert rest.steps.tolist() == [5, 19]


def test_tokens_come_back_at_the_rate_and_no_more_than_the_burst() -> None:
    limiter = RateLimiter({"x": Rate(1.0, burst=5)})
    limiter.shape(at([0.0] * 5))
    (out,) = limiter.shape(at([2.0, 2.0, 2.0]))
    assert out.steps.tolist() == [0, 1]
    (out,) = limiter.shape(at([1000.0] * 7))
    assert out.steps.tolist() == [2, 0, 1, 2, 3, 4], "what was held, and five"


def test_a_point_that_comes_too_soon_waits_though_there_are_tokens() -> None:
    limiter = RateLimiter({"x": Rate(1.0, burst=100, min_interval=0.5)})
    (out,) = limiter.shape(at([0.0, 0.5, 1.0, 1.2]))
    assert out.steps.tolist() == [0, 1, 2]


def test_nan_and_infinities_pass_and_take_no_token() -> None:
    limiter = RateLimiter({"x": Rate(1.0, burst=2)})
    (out,) = limiter.shape(at([0.0] * 5, [math.nan, 1.0, math.inf, 2.0, math.nan]))
    assert out.steps.tolist() == [0, 1, 2, 3, 4]


@given(runs())
@settings(max_examples=100)
def test_a_series_keeps_its_order_its_extremes_and_what_is_not_finite(tables: list[Points]) -> None:
    out = series(shaped(RateLimiter(RULES), tables))
    for name, cells in series(tables).items():
        kept = out[name]
        assert all(before <= after for before, after in pairwise(step for step, *_ in kept))
        assert {repr(cell) for cell in kept} <= {repr(cell) for cell in cells}
        odd = [repr(cell) for cell in cells if not math.isfinite(cell[2])]
        assert [repr(cell) for cell in kept if not math.isfinite(cell[2])] == odd
        finite = [cell[2] for cell in cells if math.isfinite(cell[2])]
        if finite:
            shown = [cell[2] for cell in kept if math.isfinite(cell[2])]
            assert (min(shown), max(shown)) == (min(finite), max(finite))


@given(runs(FINITE))
@settings(max_examples=100)
def test_no_series_has_more_than_its_burst_beyond_its_rate(tables: list[Points]) -> None:
    for name, cells in series(shaped(RateLimiter(RULES), tables)).items():
        rate = RULES["a*" if name.startswith("a") else "c*" if name == "c" else name]
        for i, (_, start, _, _) in enumerate(cells):
            for j, (_, end, _, _) in enumerate(cells[i:], 1):
                assert j <= rate.burst + (end - start) * rate.steady + 6 or rate.steady == math.inf


@given(runs(), st.sets(st.integers(0, 8)))
@settings(max_examples=100)
def test_a_restart_changes_nothing_and_every_value_is_accounted_for(tables: list[Points], restarts: set[int]) -> None:
    straight = shaped(RateLimiter(RULES), tables)
    limiter, out, limited = RateLimiter(RULES), [], 0
    for number, points in enumerate(tables):
        out += limiter.shape(points)
        assert total(tables[: number + 1]) == total(out) + limited + limiter.limited + limiter.held
        if number in restarts:
            limited += limiter.limited
            state, limiter = limiter.state(), RateLimiter(RULES)
            limiter.restore(state)
    out += limiter.flush()
    assert repr(series(out)) == repr(series(straight))


def test_held_points_are_due_when_the_burst_is_another_than_before() -> None:
    before = RateLimiter({"x": Rate(1.0, burst=1)})
    before.shape(at([0.0, 0.0]))
    after = RateLimiter({"x": Rate(1.0, burst=2)})
    after.restore(before.state())
    assert [out.steps.tolist() for out in after.shape(at([0.1]))] == [[1], [0]]


def test_a_series_that_has_all_of_its_tokens_is_not_in_the_state() -> None:
    limiter = RateLimiter({"*": Rate(1.0, burst=2)})
    for step in range(100):
        limiter.shape(table(10 * step, names=(f"s{step}",)))
    assert len(limiter.state()) < 200


@given(st.lists(any_points(), max_size=3))
def test_any_table_is_taken_and_accounted_for(tables: list[Points]) -> None:
    limiter = RateLimiter({"*": Rate(1.0, 2)})
    out = [out for points in tables for out in limiter.shape(points)]
    assert total(tables) == total(out) + limiter.limited + limiter.held
    limiter.restore(limiter.state())


@pytest.mark.parametrize("state", [bytes(4), bytes(8), bytes(4) + b"\xff" * 20])
def test_a_spoiled_state_is_refused(state: bytes) -> None:
    with pytest.raises(ProtocolError):
        RateLimiter({"x": Rate(1.0, burst=1)}).restore(state)


def test_tokens_come_back_where_the_clock_was_set_back_by_a_day() -> None:
    limiter = RateLimiter({"x": Rate(1.0, burst=5, min_interval=0.1)})
    limiter.shape(at([90_000.0 + i for i in range(5)]))
    limiter.shape(at([90_005.0] * 9))
    limiter.shape(at([3600.0]))
    (out,) = limiter.shape(at([3700.0, 3701.0, 3702.0]))
    assert out.steps.tolist()[-3:] == [0, 1, 2]
