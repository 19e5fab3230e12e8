from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclog_proto.errors import ConfigError, ProtocolError
from asynclogd.points import Points
from asynclogd.ratelimit import RateLimiter
from tests.daemon.tables import identity, table
from tests.daemon.tables import points as any_points

RULES = {"a*": 3.0, "b": 0.5, "c*": 30.0}
NAMES = ("a1", "a2", "b", "c", "free")
VALUES = st.sampled_from([0.0, -0.0, 1.0, 2.0, -3.0, 1e300, 5e-324]) | st.floats(width=32)
FINITE = st.floats(-1e9, 1e9)
Cell = tuple[int, float, float, int]
"""number of the point in its series, time, value, logged"""


@st.composite
def runs(draw: st.DrawFn, values: st.SearchStrategy[float] = VALUES) -> list[Points]:
    """Tables of a run whose clock only goes on; the step of a point tells which it is."""
    time, step, tables = 0.0, 0, []
    for _ in range(draw(st.integers(0, 8))):
        names = tuple(draw(st.lists(st.sampled_from(NAMES), unique=True, max_size=5)))
        k = draw(st.integers(0, 5))
        times = []
        for _ in range(k):
            time += draw(st.sampled_from([0.0, 0.01, 0.1, 0.4, 1.0, 7.0]))
            times.append(time)
        shape = (k, len(names))
        tables.append(
            Points(
                names=names,
                steps=np.arange(step, step + k),
                times=np.array(times, np.float64),
                values=np.array(draw(st.lists(values, min_size=math.prod(shape), max_size=math.prod(shape)))).reshape(
                    shape
                ),
                ranks=np.full(shape, 2, np.uint32),
                logged=np.array(
                    draw(st.lists(st.integers(0, 9), min_size=math.prod(shape), max_size=math.prod(shape))), np.uint32
                ).reshape(shape),
                world=draw(st.integers(1, 2)),
                generation=draw(st.integers(0, 1)),
                revision=draw(st.booleans()),
                holders=draw(st.none() | st.just(np.zeros(shape, np.int32))),
            )
        )
        step += k
    return tables


def shaped(limiter: RateLimiter, tables: list[Points]) -> list[Points]:
    return [out for points in tables for out in limiter.shape(points)] + limiter.flush()


def series(tables: list[Points]) -> dict[str, list[Cell]]:
    """The points of each series in the order in which they come."""
    found: dict[str, list[Cell]] = defaultdict(list)
    for points in tables:
        logged = points.logged.reshape(-1).tolist()
        for point, count in zip(points, logged, strict=True):
            found[point.name].append((point.step, point.time, point.value, count))
    return found


def rate_of(name: str) -> float | None:
    return next((rate for pattern, rate in RULES.items() if fnmatchcase(name, pattern)), None)


def pieces(cells: list[Cell], rate: float) -> list[list[Cell]]:
    """A series cut into buckets, and these at values that are not finite."""
    cut: list[list[Cell]] = []
    before: Any = None
    for cell in cells:
        bucket = math.floor(cell[1] / (3 / rate))
        here = (bucket, math.isfinite(cell[2]))
        if here != before or not here[1]:
            cut.append([])
        cut[-1].append(cell)
        before = here
    return cut


def kept(piece: list[Cell]) -> list[Cell]:
    """Its first minimum, its first maximum and its last, in order."""
    values = [cell[2] for cell in piece]
    if len(piece) == 1:
        return piece
    return [piece[i] for i in sorted({values.index(min(values)), values.index(max(values)), len(piece) - 1})]


@given(runs())
@settings(max_examples=200)
def test_minimum_maximum_and_last_of_each_bucket_survive_in_order_and_nothing_else_does(tables: list[Points]) -> None:
    out = series(shaped(RateLimiter(RULES), tables))
    for name, cells in series(tables).items():
        rate = rate_of(name)
        expected = cells if rate is None else [cell for piece in pieces(cells, rate) for cell in kept(piece)]
        assert repr(out[name]) == repr(expected), name


@given(runs(FINITE))
@settings(max_examples=50)
def test_no_series_has_more_points_than_its_rate(tables: list[Points]) -> None:
    for name, cells in series(shaped(RateLimiter(RULES), tables)).items():
        rate = rate_of(name)
        if rate is None:
            continue
        for i, (_, start, _, _) in enumerate(cells):
            for j, (_, end, _, _) in enumerate(cells[i:], 1):
                buckets = math.floor(end / (3 / rate)) - math.floor(start / (3 / rate)) + 1
                assert j <= 3 * buckets


@given(runs(), st.booleans())
def test_what_goes_in_comes_out_or_is_limited_or_held(tables: list[Points], flush: bool) -> None:
    limiter = RateLimiter(RULES)
    came_in = went_out = 0
    for points in tables:
        came_in += points.logged_total
        went_out += sum(out.logged_total for out in limiter.shape(points))
        assert came_in == went_out + limiter.limited + limiter.held
    if flush:
        went_out += sum(out.logged_total for out in limiter.flush())
        assert limiter.held == 0
    assert came_in == went_out + limiter.limited + limiter.held


@given(runs(), st.data())
def test_a_limiter_that_is_restored_goes_on_as_if_nothing_had_been(tables: list[Points], data: st.DataObject) -> None:
    straight = RateLimiter(RULES)
    whole = shaped(straight, tables)
    cuts = data.draw(st.sets(st.integers(0, len(tables))))
    limiter, out, limited = RateLimiter(RULES), [], 0
    for number, points in enumerate(tables):
        if number in cuts:
            limited, state = limited + limiter.limited, limiter.state()
            limiter = RateLimiter(RULES)
            limiter.restore(state)
            assert limiter.state() == state
        out += limiter.shape(points)
    out += limiter.flush()
    assert [identity(points) for points in out] == [identity(points) for points in whole]
    assert limited + limiter.limited == straight.limited


@given(st.lists(any_points(), max_size=3))
def test_any_table_is_taken_and_accounted_for(tables: list[Points]) -> None:
    """Times that are NaN, go back or are beyond all measure among them."""
    limiter = RateLimiter({"*": 1.0})
    out = shaped(limiter, tables)
    assert sum(p.logged_total for p in tables) == sum(p.logged_total for p in out) + limiter.limited
    odd = [p for points in tables for p in points if not math.isfinite(p.value)]
    assert sum(not math.isfinite(p.value) for points in out for p in points) == len(odd)


def test_without_rules_a_table_passes_untouched() -> None:
    limiter, points = RateLimiter({}), table(0)
    assert limiter.shape(points) == [points]
    assert (limiter.shape(points)[0] is points, limiter.state(), limiter.flush(), limiter.held) == (True, b"", [], 0)


def test_a_table_that_no_rule_covers_passes_untouched() -> None:
    points = table(0)
    assert RateLimiter({"other": 1.0}).shape(points)[0] is points


def test_the_first_pattern_that_matches_counts() -> None:
    limiter = RateLimiter({"train/loss": 1e9, "train/*": 1e-9})
    out = shaped(limiter, [table(0, k=9, names=("train/loss", "train/accuracy"))])
    counts = {name: len(cells) for name, cells in series(out).items()}
    assert counts == {"train/loss": 9, "train/accuracy": 2}


def test_a_rate_of_zero_shows_nothing_and_counts_all() -> None:
    points = table(0, k=3, names=("system/cpu", "loss"))
    points.values[1] = np.nan
    limiter = RateLimiter({"system/*": 0, "*": 1e9})
    out = shaped(limiter, [points])
    assert {name: len(cells) for name, cells in series(out).items()} == {"loss": 3}
    assert limiter.limited == int(points.logged[:, 0].sum())
    assert limiter.held == 0
    assert RateLimiter({"system/*": 0}).shape(table(0, k=2, names=("system/cpu",))) == []


def test_the_hosts_metrics_are_left_out_by_where_they_come_from_and_counted() -> None:
    own = table(0, k=2, names=("system/cpu", "loss"))
    host = replace(table(5, k=3, names=("system/cpu",)), host=True)
    for rules in ({}, {"*": 1e9}):
        limiter = RateLimiter(rules, host=False)
        assert [len(cells) for cells in series(shaped(limiter, [own, host])).values()] == [2, 2]
        assert limiter.limited == host.logged_total
        assert limiter.held == 0


def test_they_are_shown_else_and_stay_what_they_are() -> None:
    host = replace(table(5, k=3, names=("system/cpu", "loss")), host=True)
    for rules in ({}, {"system/*": 1e9}):
        out = shaped(RateLimiter(rules), [host])
        assert all(points.host for points in out)
        assert sum(map(len, out)) == 6


def test_what_was_held_is_due_with_a_table_that_is_left_out() -> None:
    before = RateLimiter({"a": 0.001})
    before.shape(table(0, names=("a",)))
    after = RateLimiter({}, host=False)
    after.restore(before.state())
    assert [points.names for points in after.shape(replace(table(1, names=("b",)), host=True))] == [("a",)]


def test_a_spike_survives() -> None:
    points = table(0, k=1000, names=("loss",))
    points.values[:] = 1.0
    points.values[617] = 1e6
    out = shaped(RateLimiter({"*": 0.01}), [points])
    assert 1e6 in [value for _, _, value, _ in series(out)["loss"]]
    assert len(series(out)["loss"]) <= 3 * 5


def test_not_a_number_goes_out_at_once_behind_what_was_held() -> None:
    points = table(0, k=3, names=("loss",))
    points.values[2] = np.nan
    limiter = RateLimiter({"*": 0.001})
    assert [step for step, *_ in series(limiter.shape(points))["loss"]] == [0, 1, 2]
    assert limiter.held == 0


def test_a_quiet_series_is_let_go_when_another_one_moves_the_clock() -> None:
    limiter = RateLimiter({"*": 1.0})
    assert limiter.shape(table(0, names=("quiet",))) == []
    assert [p.name for points in limiter.shape(table(100, names=("loud",))) for p in points] == ["quiet"]


def test_a_clock_that_is_set_back_by_a_day_begins_a_bucket_and_a_late_point_does_not() -> None:
    limiter = RateLimiter({"*": 1.0})
    assert limiter.shape(table(90_000)) == []
    assert limiter.shape(table(89_999)) == []
    assert len(limiter.shape(table(3600))) == 1


def test_rows_that_belong_together_come_out_as_one_table() -> None:
    """Of three buckets that are complete, and of the one that is held to the end."""
    out = shaped(RateLimiter({"*": 1.0}), [table(0, k=12, names=("a", "b", "c"))])
    assert [(points.names, len(points.steps)) for points in out] == [(("a", "b", "c"), 6), (("a", "b", "c"), 2)]


def test_points_held_under_other_rules_are_due_at_once() -> None:
    before = RateLimiter({"*": 0.001})
    before.shape(table(0, k=2))
    after = RateLimiter({"*": 0.002})
    after.restore(before.state())
    assert after.held == 8
    assert [p.step for points in after.shape(table(2)) for p in points] == [0, 0, 1, 1]
    assert after.held == 4


@given(st.binary(min_size=1, max_size=80))
def test_a_state_that_is_none_is_refused(state: bytes) -> None:
    with pytest.raises(ProtocolError):
        RateLimiter({"*": 1.0}).restore(state)


@pytest.mark.parametrize("rate", [-1.0, -math.inf, math.nan])
def test_a_rate_is_no_less_than_zero(rate: float) -> None:
    with pytest.raises(ConfigError, match="'loss': points_per_second: Expected `float` >= 0"):
        RateLimiter({"loss": rate})


def test_another_series_that_is_well_past_a_bucket_closes_it() -> None:
    limiter = RateLimiter({"slow": 0.1})  # buckets of 30 s
    assert limiter.shape(table(3, names=["slow"])) == []
    assert limiter.due == 30
    fast = table(30, k=5, names=["fast"])
    assert limiter.shape(fast) == [fast]
    out = limiter.shape(table(35, names=["fast"]))
    assert series(out) == {"fast": [(35, 35.0, 35.0, 2)], "slow": [(3, 3.0, 3.0, 2)]}
    assert (limiter.held, limiter.due) == (0, math.inf)


def test_only_buckets_that_are_over_are_flushed() -> None:
    limiter = RateLimiter({"slow": 0.1, "slower": 0.01})
    limiter.shape(table(3, names=["slow", "slower"]))
    assert limiter.flush(29.9) == []
    assert list(series(limiter.flush(30.0))) == ["slow"]
    assert (limiter.held, limiter.due) == (2, 300)
    assert list(series(limiter.flush())) == ["slower"]


def test_a_clock_that_is_set_back_by_a_day_leaves_no_series_waiting_for_it() -> None:
    limiter = RateLimiter({"slow": 0.1})
    limiter.shape(table(90_000, names=["slow"]))
    late = table(90_000 - 3000, names=["fast"])
    assert limiter.shape(late) == [late]
    assert list(series(limiter.shape(table(3600, names=["fast"])))) == ["fast", "slow"]
    assert (limiter.held, limiter.due, limiter.patience) == (0, math.inf, math.inf)


def test_what_is_held_need_not_wait_for_longer_than_the_bucket_that_is_over_first() -> None:
    limiter = RateLimiter({"slow": 0.1, "slower": 0.01})
    limiter.shape(table(3, names=["slower"]))
    assert limiter.patience == 300
    limiter.shape(table(3, names=["slow"]))
    assert limiter.patience == 30
