"""What a run's points come to: of each series the last value, the extremes, and its course in a few buckets.

Items are read from the newest to the oldest. So whatever supersedes a point (a rewind, a revision) is known before the
point, and one reading in bounded memory is exact.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclogd.course import Course, Layout, merged
from asynclogd.delivery import Limiter
from asynclogd.journal import Journal
from asynclogd.mending import Items
from asynclogd.points import Item, Media, Params, Points, Rewind, Summary

BLOCK = 64
"""Items that are in memory at a time."""

READ_BYTES = 8 << 20

MOST_REVISED = 1 << 20
"""Points that came late whose forerunners are told from valid ones; beyond, both count."""

Told = Callable[[int], None]


@dataclass(slots=True)
class Digest:
    """`series` by name in the order of names; `media` counts items by kind; `params` and `summary` as set last."""

    series: dict[str, Course] = field(default_factory=dict)
    params: dict[str, Any] = field(default_factory=dict)
    summary: dict[str, Any] = field(default_factory=dict)
    media: Counter[str] = field(default_factory=Counter)


def digest(journal: Journal, selection: Limiter, tell: Told = lambda _: None) -> Digest:
    """A run's digest, of what `selection` lets pass. `tell` is called with the number of items that are read."""
    gathering = _Gathering(selection)
    for offset, item in newest_first(journal):
        gathering.take(item)
        if offset % BLOCK == 0:
            tell(journal.last_offset - offset)
    return gathering.done()


def newest_first(journal: Journal) -> Iterator[tuple[int, Item]]:
    """Every item of a journal, from the last to the first."""
    items = Items(journal)
    for begin in range((journal.last_offset - 1) // BLOCK * BLOCK, -1, -BLOCK):
        block: list[tuple[int, Item]] = []
        while len(block) < BLOCK and begin + len(block) < journal.last_offset:
            block += items.read(begin + len(block), READ_BYTES)[: BLOCK - len(block)]
        yield from reversed(block)


class _Gathering:
    def __init__(self, selection: Limiter) -> None:
        self._selection = selection
        self._digest = Digest()
        self._cut: int | None = None
        """points of this step and later are superseded, if they are older than what has been taken"""
        self._layouts: dict[tuple[str, ...], Layout] = {}
        self._revised: dict[str, set[int]] = {}
        self._revisions = 0

    def take(self, item: Item) -> None:
        if isinstance(item, Points):
            for points in self._selection.shape(item):
                self._points(points)
        elif isinstance(item, Rewind):
            self._cut = item.step if self._cut is None else min(self._cut, item.step)
        elif isinstance(item, Params):
            self._digest.params = {**item.values, **self._digest.params}
        elif isinstance(item, Summary):
            self._digest.summary = {**item.values, **self._digest.summary}
        elif isinstance(item, Media) and self._selection.shows(item):
            self._digest.media[item.kind] += self._cut is None or item.step < self._cut

    def done(self) -> Digest:
        by_name: dict[str, list[Course]] = {}
        for names, layout in self._layouts.items():
            for name, course in zip(names, layout.courses(), strict=True):
                by_name.setdefault(name, []).append(course)
        courses = {name: merged(by_name[name]) for name in sorted(by_name)}
        self._digest.series = {name: course for name, course in courses.items() if course.points}
        self._digest.params = dict(sorted(self._digest.params.items()))
        self._digest.summary = dict(sorted(self._digest.summary.items()))
        return self._digest

    def _points(self, points: Points) -> None:
        steps, values = points.steps, points.values
        valid = np.ones(values.shape, np.bool_)
        if self._cut is not None:
            valid &= (steps < self._cut)[:, None]
        self._leave_out_revised(points, valid)
        if points.revision:
            self._note_revision(points, valid)
        rows = valid.any(axis=1)
        if not rows.all():
            steps, values, valid = steps[rows], values[rows], valid[rows]
        if len(steps):
            layout = self._layouts.get(points.names)
            if layout is None:
                layout = self._layouts[points.names] = Layout(len(points.names))
            layout.take(steps, values, valid)

    def _leave_out_revised(self, points: Points, valid: NDArray[np.bool_]) -> None:
        for column, name in enumerate(points.names if self._revised else ()):
            if revised := self._revised.get(name):
                valid[:, column] &= [step not in revised for step in points.steps.tolist()]

    def _note_revision(self, points: Points, valid: NDArray[np.bool_]) -> None:
        for column, name in enumerate(points.names):
            steps = points.steps[valid[:, column]].tolist()
            if self._revisions + len(steps) <= MOST_REVISED:
                self._revised.setdefault(name, set()).update(steps)
                self._revisions += len(steps)
