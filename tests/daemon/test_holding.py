"""When what a rate limit holds goes out, whatever becomes of the clock meanwhile."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest

from asynclogd.entries import Cursor
from asynclogd.holding import Holding
from asynclogd.ratelimit import RateLimiter
from tests.daemon.tables import table

DAY = 86_400.0
BUCKET = 300.0


def held_now(ahead: float = 0.0) -> RateLimiter:
    """A limiter whose bucket is open, by a clock that was `ahead`."""
    limiter, points = RateLimiter({"*": 3 / BUCKET}), table(0)
    limiter.restore(b"")
    limiter.shape(replace(points, times=points.times + time.time() + ahead))
    return limiter


def test_it_is_held_until_its_bucket_is_over() -> None:
    limiter = held_now()
    assert 0 < Holding(limiter, Cursor(limiter=limiter.state()), 0.0).rest(0, 1) <= BUCKET


@pytest.mark.parametrize("ahead", [DAY, 30 * DAY])
def test_it_is_held_for_no_longer_than_a_bucket_where_the_clock_was_set_back(ahead: float) -> None:
    limiter = held_now(ahead)
    holding = Holding(limiter, Cursor(limiter=limiter.state()), 0.0)
    assert 0 < holding.rest(0, 1) <= BUCKET
    assert holding.until(0, 1, 1) == float("-inf")


@pytest.mark.parametrize("move", [DAY, -DAY])
def test_the_wait_goes_on_as_it_was_when_the_clock_is_moved_meanwhile(
    move: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    limiter = held_now()
    holding = Holding(limiter, Cursor(limiter=limiter.state()), 0.0)
    before, clock, monotonic = holding.rest(0, 1), time.time, time.monotonic
    monkeypatch.setattr(time, "time", lambda: clock() + move)
    assert before - 10 < holding.rest(0, 1) <= before
    monkeypatch.setattr(time, "monotonic", lambda: monotonic() + before)
    assert holding.rest(0, 1) <= 0
    assert limiter.flush(holding.until(0, 1, 1))
    assert (limiter.held, holding.rest(0, 1)) == (0, float("inf"))
