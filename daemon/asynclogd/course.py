"""The course of a series in a bounded number of buckets of steps: lowest and highest value of each. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MOST_BUCKETS = 128

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Lowest and highest finite value (inf, -inf where there is none), and how many values were not finite."""

    low: float
    high: float
    odd: int

    def __add__(self, other: Bucket) -> Bucket:
        return Bucket(min(self.low, other.low), max(self.high, other.high), self.odd + other.odd)


@dataclass(frozen=True, slots=True)
class Course:
    """One series. `last` is its value at its highest step `last_step`; `buckets` by step >> `shift`.

    `first_step` is its lowest step; `points` counts its points, those that are not finite too.
    """

    points: int
    first_step: int
    last_step: int
    last: float
    shift: int
    buckets: dict[int, Bucket]

    @property
    def total(self) -> Bucket:
        """All buckets as one."""
        return sum(self.buckets.values(), Bucket(math.inf, -math.inf, 0))


def merged(courses: Sequence[Course]) -> Course:
    """One series of which several tables had a part, the newest first."""
    valid = [course for course in courses if course.points] or list(courses[:1])
    shift = max(course.shift for course in valid)
    first, top = min(course.first_step for course in valid), max(course.last_step for course in valid)
    while (top >> shift) - (first >> shift) >= MOST_BUCKETS:
        shift += 1
    buckets: dict[int, Bucket] = {}
    for course in valid:
        for key, bucket in course.buckets.items():
            key >>= shift - course.shift  # noqa: PLW2901 - the same bucket, in wider ones
            buckets[key] = buckets[key] + bucket if key in buckets else bucket
    last = next(course.last for course in valid if course.last_step == top)
    return Course(sum(course.points for course in valid), first, top, last, shift, buckets)


class Layout:
    """The courses of the m series of one layout, taken table by table, the newest first."""

    def __init__(self, series: int) -> None:
        self._shift = 0
        self._lowest = self._highest = 0
        self._points = np.zeros(series, np.int64)
        self._firsts: NDArray[np.int64] = np.full(series, np.iinfo(np.int64).max)
        self._last_steps: NDArray[np.int64] = np.full(series, np.iinfo(np.int64).min)
        self._lasts: Floats = np.full(series, np.nan)
        self._lows: dict[int, Floats] = {}
        self._highs: dict[int, Floats] = {}
        self._odds: dict[int, NDArray[np.int64]] = {}

    def take(self, steps: NDArray[np.int64], values: Floats, valid: NDArray[np.bool_]) -> None:
        """Take (k, m) values at k steps, k > 0; where `valid` is false there is none."""
        self._widen(int(steps.min()), int(steps.max()))
        self._note_ends(steps, values, valid)
        finite = np.isfinite(values) & valid
        lows, highs = np.where(finite, values, np.inf), np.where(finite, values, -np.inf)
        odds = (valid & ~finite).astype(np.int64)
        keys = steps >> self._shift
        for key in np.unique(keys).tolist():
            rows = keys == key
            self._put(key, lows[rows].min(axis=0), highs[rows].max(axis=0), odds[rows].sum(axis=0))

    def courses(self) -> list[Course]:
        """Each series' course, in the order of columns."""
        keys = sorted(self._lows)
        lows = np.array([self._lows[key] for key in keys])
        highs, odds = np.array([self._highs[key] for key in keys]), np.array([self._odds[key] for key in keys])
        there = (lows <= highs) | (odds > 0)
        return [
            Course(
                int(self._points[column]),
                int(self._firsts[column]),
                int(self._last_steps[column]),
                float(self._lasts[column]),
                self._shift,
                {
                    keys[row]: Bucket(float(lows[row, column]), float(highs[row, column]), int(odds[row, column]))
                    for row in np.flatnonzero(there[:, column]).tolist()
                },
            )
            for column in range(len(self._points))
        ]

    def _note_ends(self, steps: NDArray[np.int64], values: Floats, valid: NDArray[np.bool_]) -> None:
        """First and last steps. Of points of one step the newest counts: the last row, of the table taken first."""
        self._points += valid.sum(axis=0)
        there = valid.any(axis=0)
        least, most = np.iinfo(np.int64).min, np.iinfo(np.int64).max
        low = np.where(valid, steps[:, None], most).min(axis=0)
        self._firsts = np.minimum(self._firsts, low)
        backwards = np.where(valid, steps[:, None], least)[::-1]
        row = len(steps) - 1 - backwards.argmax(axis=0)
        later = there & (steps[row] > self._last_steps)
        columns = np.flatnonzero(later)
        self._last_steps[columns] = steps[row[columns]]
        self._lasts[columns] = values[row[columns], columns]

    def _put(self, key: int, low: Floats, high: Floats, odd: NDArray[np.int64]) -> None:
        if key in self._lows:
            low, high = np.minimum(self._lows[key], low), np.maximum(self._highs[key], high)
            odd = self._odds[key] + odd
        self._lows[key], self._highs[key], self._odds[key] = low, high, odd

    def _widen(self, low: int, high: int) -> None:
        """Make the buckets so wide that these steps fit too."""
        if self._lows:
            low, high = min(low, self._lowest), max(high, self._highest)
        self._lowest, self._highest = low, high
        shift = self._shift
        while (high >> shift) - (low >> shift) >= MOST_BUCKETS:
            shift += 1
        if shift == self._shift:
            return
        narrow = [(key, self._lows[key], self._highs[key], self._odds[key]) for key in self._lows]
        self._lows, self._highs, self._odds = {}, {}, {}
        for key, lowest, highest, odd in narrow:
            self._put(key >> (shift - self._shift), lowest, highest, odd)
        self._shift = shift
