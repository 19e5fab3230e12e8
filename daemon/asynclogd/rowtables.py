"""Rows that lie in a payload as tables: finding runs of them, checking them, and sorting them by name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclog_proto.errors import ProtocolError
from asynclog_proto.records import ROW_HEAD
from asynclogd.rows import Rows

_HEAD = np.dtype("<u8")
_FIRST_PROBE = 64
_LONGEST_PERIOD = 64
_MOST_STRETCHES = 256
_MAX_PLANS = 256


class Shape:
    """A layout as it lies in bytes: `size` of its rows, the eight bytes that begin them, and their dtype."""

    __slots__ = ("dtype", "head", "name_set", "names", "number", "size")

    def __init__(self, number: int, names: tuple[str, ...]) -> None:
        self.number = number
        self.names = names
        self.name_set = frozenset(names)
        self.size = ROW_HEAD.size + 8 * len(names)
        # array6, kind, u32 tag, layout and the step's tag are one word: one comparison checks them all.
        self.head = b"\x96\x01\xce" + number.to_bytes(4, "big") + b"\xd3"
        fields: dict[str, tuple[Any, int]] = {
            "head": (_HEAD, 0),
            "step": (">i8", 8),
            "time_tag": ("u1", 16),
            "time": (">f8", 17),
            "weight_tag": ("u1", 25),
            "weight": (">f8", 26),
            "values_tag": ("u1", 34),
            "bytes": (">u4", 35),
            "values": ((">f8", (len(names),)), ROW_HEAD.size),
        }
        self.dtype = np.dtype(
            {
                "names": list(fields),
                "formats": [kind for kind, _ in fields.values()],
                "offsets": [offset for _, offset in fields.values()],
                "itemsize": self.size,
            }
        )


class Segment:
    """Rows of a payload between two records of another kind: for each shape, where its rows lie."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._runs: list[tuple[Shape, int, int, int]] = []
        self._last_single: dict[Shape, int] = {}

    def __bool__(self) -> bool:
        return bool(self._runs)

    def run_length(self, at: int, shape: Shape) -> int:
        """How many rows of `shape` follow each other at `at`, by their heads (at least 1)."""
        view, size = self._view, shape.size
        if view[at + size : at + size + 8] != shape.head:
            return 1
        # What is wrong with a first row that has not even the head is told where it is checked.
        return max(1, self._repeats(at, size, [(shape, 0)]))

    def take(self, at: int, shape: Shape) -> tuple[int, int]:
        """Take the rows at `at`: a run of this shape or of a few that alternate. Returns (end, number of rows)."""
        count = self.run_length(at, shape)
        runs, before = self._runs, self._last_single.get(shape)
        if count > 1:
            self._last_single.clear()
            runs.append((shape, at, count, shape.size))
            return at + count * shape.size, count
        if before is not None and len(runs) - before <= _LONGEST_PERIOD:
            span, period = at - runs[before][1], runs[before:]
            repeats = self._again(at, span, period)
            if repeats > 1:
                self._last_single.clear()
                runs.extend((each, offset + span, repeats, span) for each, offset, _, _ in period)
                return at + repeats * span, repeats * len(period)
        self._last_single[shape] = len(runs)
        runs.append((shape, at, 1, shape.size))
        return at + shape.size, 1

    def interrupt(self) -> None:
        """Something else stands here between the rows: no period of rows may reach over it."""
        self._last_single.clear()

    def _again(self, at: int, span: int, period: list[tuple[Shape, int, int, int]]) -> int:
        """How often the runs of `period`, which end where `at` is, come again there."""
        view = self._view
        for shape, offset, _, _ in period:
            if view[offset + span : offset + span + 8] != shape.head:
                return 0
        start = at - span
        return self._repeats(at, span, [(shape, offset - start) for shape, offset, _, _ in period])

    def _repeats(self, at: int, span: int, period: list[tuple[Shape, int]]) -> int:
        """How often `period` (shapes and where they begin in it), `span` bytes long, stands from `at` on.

        Looks at a few first and at ever more while all are right: a short run costs little, a long one is
        looked at about twice.
        """
        most = (len(self._view) - at) // span
        found, window = 0, _FIRST_PROBE
        while found < most:
            count = min(window, most - found)
            good = np.ones(count, np.bool_)
            for shape, offset in period:
                begin = at + found * span + offset
                heads: NDArray[np.uint64] = np.ndarray((count,), _HEAD, self._view, begin, (span,))
                good &= heads == int.from_bytes(shape.head, "little")
            if not good.all():
                return found + int(good.argmin())
            found += count
            window *= 2
        return found

    def check(self, at: int, shape: Shape, count: int) -> None:
        """Raise ProtocolError unless `count` rows at `at` are well formed."""
        _checked(np.ndarray((count,), shape.dtype, self._view, at, (shape.size,)), shape)

    def tables(self) -> dict[Shape, tuple[NDArray[np.int64], NDArray[np.void]]]:
        """For each shape, in order of appearance, where its rows begin (k,) and the rows (k,) of its dtype."""
        runs: dict[Shape, list[tuple[int, int, int]]] = {}
        for shape, at, count, stride in self._runs:
            runs.setdefault(shape, []).append((at, count, stride))
        return {shape: self._table(shape, where) for shape, where in runs.items()}

    def _table(self, shape: Shape, where: list[tuple[int, int, int]]) -> tuple[NDArray[np.int64], NDArray[np.void]]:
        table: NDArray[np.void]
        if len(where) == 1:
            at, count, stride = where[0]
            table = np.ndarray((count,), shape.dtype, self._view, at, (stride,))
            return np.arange(at, at + count * stride, stride), _checked(table, shape)
        begins = np.concatenate([np.arange(at, at + count * stride, stride) for at, count, stride in where])
        begins.sort()  # a run of a period overlaps others of its shape
        anywhere: NDArray[np.void]
        anywhere = np.ndarray((len(self._view) - shape.size + 1,), shape.dtype, self._view, 0, (1,))
        return begins, _checked(anywhere[begins], shape)


def _checked(table: NDArray[np.void], shape: Shape) -> NDArray[np.void]:
    good = (
        (table["head"] == int.from_bytes(shape.head, "little")).all()
        and (table["time_tag"] == 0xCB).all()
        and (table["weight_tag"] == 0xCB).all()
        and (table["values_tag"] == 0xC6).all()
    )
    if not good:
        raise ProtocolError("a row has one encoding only: every field at its full width")
    if not (table["bytes"] == shape.size - ROW_HEAD.size).all():
        raise ProtocolError(f"a row of layout {shape.number} has {len(shape.names)} values")
    if not np.isfinite(table["time"]).all():
        raise ProtocolError("a row's time is a finite number of seconds")
    return table


@dataclass(frozen=True, slots=True)
class _Share:
    """Names that the same layouts have, and where in those: (index of the layout, columns)."""

    names: tuple[str, ...]
    sources: list[tuple[int, Any]]


class Regroup:
    """Turns segments into Rows; remembers how, per combination of layouts.

    Layouts that have names in common give a table for each stretch of one layout, in order, so that a row stays whole.
    Where such stretches are many, the common names go into a table of their own instead.
    """

    def __init__(self) -> None:
        self._plans: dict[tuple[Shape, ...], list[_Share]] = {}

    def tables(self, segment: Segment) -> Iterator[Rows]:
        """The segment's rows. Raises ProtocolError when they are malformed."""
        if not segment:
            return
        found = segment.tables()
        parts = list(found.values())
        plan = self._plan(tuple(found))
        common = sorted({index for share in plan if len(share.sources) > 1 for index, _ in share.sources})
        stretches = _stretches(parts, common) if common else []
        if common and stretches is not None and (every := _stretches(parts, [*range(len(parts))])) is not None:
            common, stretches = [*range(len(parts))], every  # all in their order: what a person expects of a file
        whole = stretches is not None
        if stretches is not None:
            shapes = list(found)
            for index, first, last in stretches:
                yield _rows(shapes[index].names, parts[index][1][first:last], slice(None))
        for share in plan:
            if whole and share.sources[0][0] in common:
                continue
            if len(share.sources) == 1:
                index, columns = share.sources[0]
                yield _rows(share.names, parts[index][1], columns)
            else:
                yield _merged(share, parts)

    def _plan(self, shapes: tuple[Shape, ...]) -> list[_Share]:
        plan = self._plans.get(shapes)
        if plan is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            plan = self._plans[shapes] = _shares(shapes)
        return plan


Stretches = list[tuple[int, int, int]]


def _stretches(parts: list[tuple[NDArray[np.int64], NDArray[np.void]]], some: list[int]) -> Stretches | None:
    """The rows of `some` layouts as (index, first row, last row + 1): rows of one layout that follow each other. None
    when they are too many.
    """
    begins = np.concatenate([parts[index][0] for index in some])
    owners = np.repeat(some, [len(parts[index][0]) for index in some])[begins.argsort()]
    ends = [*(np.flatnonzero(np.diff(owners)) + 1).tolist(), len(owners)]
    if len(ends) > _MOST_STRETCHES:
        return None
    found, at, taken = [], 0, dict.fromkeys(some, 0)
    for end in ends:
        index = int(owners[at])
        found.append((index, taken[index], taken[index] + end - at))
        taken[index] += end - at
        at = end
    return found


def _shares(shapes: tuple[Shape, ...]) -> list[_Share]:
    if len(frozenset().union(*(shape.name_set for shape in shapes))) == sum(len(s.names) for s in shapes):
        return [_Share(shape.names, [(index, slice(None))]) for index, shape in enumerate(shapes)]
    owners: dict[str, list[tuple[int, int]]] = {}
    for index, shape in enumerate(shapes):
        for column, name in enumerate(shape.names):
            owners.setdefault(name, []).append((index, column))
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, places in owners.items():
        groups.setdefault(tuple(index for index, _ in places), []).append(name)
    return [
        _Share(
            tuple(names),
            [(index, np.array([owners[name][i][1] for name in names])) for i, index in enumerate(indices)],
        )
        for indices, names in groups.items()
    ]


def _rows(names: tuple[str, ...], table: NDArray[np.void], columns: Any) -> Rows:
    return Rows(
        names,
        table["step"].astype(np.int64),
        table["time"].astype(np.float64),
        table["weight"].astype(np.float64),
        table["values"][:, columns].astype(np.float64, order="C"),
    )


def _merged(share: _Share, parts: list[tuple[NDArray[np.int64], NDArray[np.void]]]) -> Rows:
    order = np.concatenate([parts[index][0] for index, _ in share.sources]).argsort()
    each = [_rows(share.names, parts[index][1], columns) for index, columns in share.sources]
    return Rows(
        share.names,
        np.concatenate([rows.steps for rows in each])[order],
        np.concatenate([rows.times for rows in each])[order],
        np.concatenate([rows.weights for rows in each])[order],
        np.concatenate([rows.values for rows in each])[order],
    )
