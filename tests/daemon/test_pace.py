from __future__ import annotations

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from asynclogd.pace import BURST_SECONDS, Pace, Quota

KIB, MIB = 1 << 10, 1 << 20


def test_nothing_is_limited_until_the_service_says_that_it_is_too_much() -> None:
    pace = Pace(MIB)
    pace.widen(50 * MIB)
    assert not pace.narrowed
    pace.narrow(0)
    assert not pace.narrowed


def test_each_429_halves_what_was_sent_down_to_a_row_or_two() -> None:
    pace = Pace(MIB)
    pace.narrow(800 * KIB)
    assert pace.window == 400 * KIB
    pace.narrow(100 * KIB)
    assert pace.window == 50 * KIB
    pace.narrow(0)
    assert pace.window == 25 * KIB
    for _ in range(20):
        pace.narrow(1 * KIB)
    assert pace.window == 1 * KIB


def test_each_success_adds_the_same_until_nothing_limits_it() -> None:
    pace = Pace(MIB)
    pace.narrow(2 * KIB)
    windows = []
    while pace.narrowed:
        windows.append(pace.window)
        pace.widen(pace.window)
    assert {after - before for before, after in pairwise(windows)} == {64 * KIB}
    assert len(windows) == 64


def test_a_cycle_that_had_nothing_to_send_shows_nothing_about_the_service() -> None:
    pace = Pace(MIB)
    pace.narrow(800 * KIB)
    pace.widen(0)
    assert pace.window == 400 * KIB


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 8 * MIB)), max_size=200))
def test_there_is_always_something_that_may_be_sent(cycles: list[tuple[bool, float]]) -> None:
    pace = Pace(MIB)
    for throttled, sent in cycles:
        (pace.narrow if throttled else pace.widen)(sent)
        assert 1 * KIB <= pace.window <= math.inf


@given(st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 60)), max_size=50), st.floats(1, 1000))
def test_a_quota_is_kept_however_batches_come(batches: list[tuple[int, float]], rate: float) -> None:
    """From any batch on to the next one's begin: what the time allows, the bucket, and the batch that emptied it."""
    quota, now, sent = Quota(rate), 100.0, []
    for points, later in batches:
        now = max(now + later, quota.due)
        quota.spend(points, now)
        sent.append((now, points))
    for first, (begun, _) in enumerate(sent):
        for last in range(first, len(sent)):
            total = sum(points for _, points in sent[first:last])
            assert total <= (sent[last][0] - begun + BURST_SECONDS) * rate + 1e-3


def test_without_a_quota_nothing_waits() -> None:
    quota = Quota(math.inf)
    assert quota.spend(10**9, 100.0) < 100.0
    assert quota.batch_bytes == math.inf
