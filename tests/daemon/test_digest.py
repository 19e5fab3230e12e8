from __future__ import annotations

import math
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.course import MOST_BUCKETS, Course
from asynclogd.digest import BLOCK, Digest, digest, newest_first
from asynclogd.entries import Commit
from asynclogd.journal import Journal
from asynclogd.points import Blob, Item, Media, Params, Points, Rewind, Summary
from asynclogd.ratelimit import RateLimiter
from asynclogd.samples import filled
from asynclogd.selection import Selection

NAMES = st.lists(st.sampled_from("abc"), min_size=1, max_size=3, unique=True)
VALUES = st.floats(width=32) | st.integers(-3, 3).map(float)


@st.composite
def tables(draw: st.DrawFn) -> Item:
    """Some series at a few steps, which come again in other tables."""
    names = draw(NAMES)
    steps = draw(st.lists(st.integers(0, 12) | st.sampled_from([-(2**40), 10**9]), min_size=1, max_size=4, unique=True))
    values = draw(st.lists(VALUES, min_size=len(names) * len(steps), max_size=len(names) * len(steps)))
    shaped = np.array(values, np.float64).reshape(len(steps), len(names))
    return filled(names, steps, shaped, revision=draw(st.booleans()))


ITEMS = st.lists(tables() | st.builds(Rewind, st.integers(0, 12), st.just(1)), max_size=12)


def kept(items: Sequence[Item]) -> dict[str, list[tuple[int, float]]]:
    """Each series' points by what the items mean: a rewind removes, a revision replaces what came before it."""
    series: dict[str, list[tuple[int, float]]] = {}
    for item in items:
        if isinstance(item, Rewind):
            series = {name: [point for point in points if point[0] < item.step] for name, points in series.items()}
            continue
        assert isinstance(item, Points)
        for point in item:
            points = series.setdefault(point.name, [])
            if item.revision:
                points[:] = [each for each in points if each[0] != point.step]
            points.append((point.step, point.value))
    return {name: points for name, points in series.items() if points}


def digested(items: Sequence[Item], names: Sequence[str] = ()) -> Digest:
    with tempfile.TemporaryDirectory() as directory, Journal.open(Path(directory) / "journal.sqlite") as journal:
        journal.commit(Commit(items=list(items)))
        return digest(journal, Selection(RateLimiter({}), names))


def same(one: float, other: float) -> bool:
    return one == other or (math.isnan(one) and math.isnan(other))


@given(items=ITEMS)
def test_last_extremes_and_counts_are_those_of_the_points_that_hold(items: list[Item]) -> None:
    wanted = kept(items)
    found = digested(items).series
    assert list(found) == sorted(wanted)
    for name, points in wanted.items():
        course, finite = found[name], [value for _, value in points if math.isfinite(value)]
        assert course.points == len(points)
        assert (course.first_step, course.last_step) == (min(points)[0], max(step for step, _ in points))
        assert (course.total.low, course.total.high) == (min(finite, default=math.inf), max(finite, default=-math.inf))
        assert course.total.odd == len(points) - len(finite)
        at_last = [value for step, value in points if step == course.last_step]
        assert any(same(course.last, value) for value in at_last)
        check_buckets(course, points)


def check_buckets(course: Course, points: list[tuple[int, float]]) -> None:
    keys = {step >> course.shift for step, _ in points}
    assert course.buckets.keys() == keys
    assert max(keys) - min(keys) < MOST_BUCKETS
    for key, bucket in course.buckets.items():
        inside = [value for step, value in points if step >> course.shift == key and math.isfinite(value)]
        assert (bucket.low, bucket.high) == (min(inside, default=math.inf), max(inside, default=-math.inf))


def test_the_newest_of_a_steps_values_is_the_last() -> None:
    items = [filled(["a"], [1, 2], np.array([[1.0], [2.0]])), filled(["a", "b"], [2], np.array([[3.0, 0.0]]))]
    assert digested(items).series["a"].last == 3.0


def test_params_and_summary_are_as_they_were_set_last() -> None:
    found = digested([Params({"b": 1, "a": 1}), Summary({"x": 1}), Params({"a": 2}), Summary({"y": 2})])
    assert (found.params, found.summary) == ({"a": 2, "b": 1}, {"x": 1, "y": 2})
    assert list(found.params) == ["a", "b"]


def test_media_are_counted_by_kind_but_for_those_that_are_superseded() -> None:
    def media(kind: str, step: int) -> Media:
        return Media("m", step, 0.0, kind, "text/plain", {}, Blob("", 1, 0, 1))

    items: list[Item] = [media("text", 1), media("image", 2), media("image", 3), Rewind(3, 1), media("text", 3)]
    assert dict(digested(items).media) == {"text": 2, "image": 1}
    assert dict(digested(items, ["other"]).media) == {}


def test_only_the_series_that_are_asked_for() -> None:
    items = [filled(["train/a", "val/a"], [1], np.array([[1.0, 2.0]]))]
    assert list(digested(items, ["val/*"]).series) == ["val/a"]


@pytest.mark.parametrize("count", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK])
def test_items_are_read_from_the_last_to_the_first(tmp_path: Path, count: int) -> None:
    with Journal.open(tmp_path / "journal.sqlite") as journal:
        journal.commit(Commit(items=[Params({"n": n}) for n in range(1, count + 1)]))
        told: list[int] = []
        assert [offset for offset, _ in newest_first(journal)] == list(range(count, 0, -1))
        digest(journal, RateLimiter({}), told.append)
    assert told == sorted(told)
