"""Rows as they lie in a payload: runs of them are found by their heads, checked, and seen as tables without a copy."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclog_proto.errors import ProtocolError
from asynclog_proto.records import ROW_HEAD

_HEAD = np.dtype("<u8")
_FIRST_PROBE = 64
_LONGEST_PERIOD = 64

Found = tuple[NDArray[np.int64], NDArray[np.void]]
"""Rows of one shape: where they begin in the payload, and they themselves."""


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

    def tables(self) -> dict[Shape, Found]:
        """For each shape, in order of appearance, where its rows begin (k,) and the rows (k,) of its dtype."""
        runs: dict[Shape, list[tuple[int, int, int]]] = {}
        for shape, at, count, stride in self._runs:
            runs.setdefault(shape, []).append((at, count, stride))
        return {shape: self._table(shape, where) for shape, where in runs.items()}

    def _table(self, shape: Shape, where: list[tuple[int, int, int]]) -> Found:
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
