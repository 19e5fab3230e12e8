"""How each metric is reduced, by the defines that match its name, and what its series are called."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

import numpy as np

from asynclog_proto.records import Define
from asynclog_proto.reductions import DEFAULT
from asynclogd.lanes import Lane
from asynclogd.rows import Rows
from asynclogd.seen import Seen

MAX_DEFINES = 10_000
_CACHED_NAMES = 1 << 20
_CACHED_WAYS = 4096
_WILD = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class Spec:
    """What becomes of a metric: `reductions`, the first under the plain name, and whether each rank has a series.

    Without reductions only the series a rank remain.
    """

    reductions: tuple[str, ...] = DEFAULT
    per_rank: bool = False

    @staticmethod
    def of(define: Define) -> Spec:
        """The spec that a define asks for."""
        reductions = tuple(dict.fromkeys(name for name in define.reduce if name != "none"))
        return Spec(reductions, define.per_rank or "none" in define.reduce)

    def series(self, index: int, names: tuple[str, ...]) -> tuple[str, ...]:
        """The series of a reduction: the plain names for the first, `name/min` and the like for the others."""
        if index == 0:
            return names
        return tuple(f"{name}/{self.reductions[index]}" for name in names)


@dataclass(frozen=True, slots=True)
class Group:
    """Names of a row that share a spec, and their columns in it."""

    spec: Spec
    names: tuple[str, ...]
    columns: Any

    def of(self, rows: Rows) -> Rows:
        """These columns of rows that have all."""
        if len(self.names) == len(rows.names):
            return rows
        return Rows(self.names, rows.steps, rows.times, rows.weights, rows.values[:, self.columns])


@dataclass(frozen=True, slots=True)
class Ways:
    """What becomes of rows of certain names: their lane, and the names sorted by spec."""

    lane: Lane
    groups: list[Group]


class Metrics:
    """The defines in force. The last one that matches a name decides; a name that none matches is a mean."""

    def __init__(self) -> None:
        # By pattern, oldest first, each with a number that grows: the later of an exact and a wild match wins.
        self._exact: dict[str, tuple[int, Define]] = {}
        self._wild: dict[str, tuple[int, Define, re.Pattern[str]]] = {}
        self._next = 0
        self._ways: dict[tuple[str, ...], Ways] = {}
        self._seen: Seen[Ways] = Seen()
        self._rank_series: dict[tuple[tuple[str, ...], int], tuple[str, ...]] = {}
        self._cached_names = 0

    def define(self, define: Define) -> bool:
        """Take a define; whether it changes anything. Each rank sends its own, so most are known."""
        known = self._exact.get(define.pattern) or self._wild.get(define.pattern)
        if known is not None and known[1] == define:
            return False
        self._exact.pop(define.pattern, None)
        self._wild.pop(define.pattern, None)
        if _WILD.search(define.pattern):
            self._wild[define.pattern] = (self._next, define, re.compile(translate(define.pattern)))
        else:
            self._exact[define.pattern] = (self._next, define)
        self._next += 1
        self._bound()
        self._forget()
        return True

    def _bound(self) -> None:
        if len(self._exact) > MAX_DEFINES:
            del self._exact[next(iter(self._exact))]
        if len(self._wild) > MAX_DEFINES:
            del self._wild[next(iter(self._wild))]

    def defines(self) -> list[Define]:
        """All defines in force, oldest first."""
        numbered = [*self._exact.values(), *((number, define) for number, define, _ in self._wild.values())]
        return [define for _, define in sorted(numbered, key=lambda each: each[0])]

    def spec(self, name: str) -> Spec:
        """How a metric is reduced."""
        found = self._define(name)
        return Spec() if found is None else Spec.of(found)

    def ways(self, names: tuple[str, ...]) -> Ways:
        """What becomes of a row of these names."""
        ways = self._seen.get(names)
        if ways is None:
            ways = self._ways.get(names)
            if ways is None:
                self._count(names)
                ways = self._ways[names] = Ways(self._lane(names), self._sorted(names))
            self._seen.put(names, ways)
        return ways

    def _lane(self, names: tuple[str, ...]) -> Lane:
        """That of the first of the names which has one. One name with steps of its own is enough."""
        found = [define for define in map(self._define, names) if define is not None]
        called = next((define.lane for define in found if define.lane), "")
        return Lane(called, any(define.own_steps for define in found))

    def _define(self, name: str) -> Define | None:
        number, found = self._exact.get(name, (-1, None))
        for later, define, pattern in reversed(self._wild.values()):
            if later < number:
                break
            if pattern.match(name):
                return define
        return found

    def _count(self, names: tuple[str, ...]) -> None:
        """These names are about to be cached."""
        if self._cached_names + len(names) > _CACHED_NAMES or len(self._ways) >= _CACHED_WAYS:
            self._forget()
        self._cached_names += len(names)

    def _sorted(self, names: tuple[str, ...]) -> list[Group]:
        columns: dict[Spec, list[int]] = {}
        for column, name in enumerate(names):
            columns.setdefault(self.spec(name), []).append(column)
        if len(columns) == 1:
            return [Group(spec, names, slice(None)) for spec in columns]
        return [
            Group(spec, tuple(names[column] for column in chosen), span(chosen)) for spec, chosen in columns.items()
        ]

    def rank_series(self, names: tuple[str, ...], rank: int) -> tuple[str, ...]:
        """The series of one rank: `name/rank3`."""
        series = self._rank_series.get((names, rank))
        if series is None:
            if self._cached_names + len(names) > _CACHED_NAMES:
                self._forget()
            self._cached_names += len(names)
            series = self._rank_series[names, rank] = tuple(f"{name}/rank{rank}" for name in names)
        return series

    def _forget(self) -> None:
        self._ways.clear()
        self._rank_series.clear()
        self._cached_names = 0
        self._seen.clear()


def span(columns: list[int]) -> Any:
    """An index of these columns: a slice where they follow each other, which NumPy takes without a copy."""
    first = columns[0]
    if columns == list(range(first, first + len(columns))):
        return slice(first, first + len(columns))
    return np.array(columns)
