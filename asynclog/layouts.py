"""The sets of names of a stream, each written once and then cached with the packer of its rows."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from asynclog_proto import wire
from asynclog_proto.limits import MAX_NAMES_PER_ROW, MAX_STREAM_LAYOUTS
from asynclog_proto.records import LAYOUT, ROW_HEAD, Layout, encode, row_head, row_struct

if TYPE_CHECKING:
    from typing import TypeAlias

# The whole row with the head's constants joined: five arguments ahead of the values instead of twelve.
# array6, kind, u32 tag, layout, i64 tag | step | f64 tag | time | f64 tag, weight, bin32 tag, length | values
_FORMAT = ">8sqcd14s{}d"
_TAIL = struct.Struct(">BdBI")


# All that the hot path needs of a layout: pack_into, the constants ahead of the step, those after the time (for
# weight 1), the row's size in bytes, its width in values. A plain tuple: CPython unpacks a NamedTuple 60 ns slower.
Packed: TypeAlias = "tuple[Callable[..., None], bytes, bytes, int, int]"


def tail_for(weight: float, width: int) -> bytes:
    """The constants of a row after its time, for any weight."""
    return _TAIL.pack(0xCB, weight, 0xC6, 8 * width)


class Layouts:
    """Layouts by their tuple of names. A row that is too wide for one record is split over several layouts."""

    def __init__(self, append: Callable[[bytes], bool], max_bytes: int) -> None:
        self._append = append
        self._max_bytes = max_bytes
        self._number = 0
        self.ready: dict[tuple[str, ...], Packed] = {}
        self._parts: dict[tuple[str, ...], list[tuple[str, ...]]] = {}

    def find(self, names: tuple[str, ...]) -> Packed | None:
        """The layout of `names`, written now if it is new; None when the ring has no room for it."""
        known = self.ready.get(names)
        if known is not None:
            return known
        packed = _packed(self._number, len(names))
        if not self._append(encode(Layout(self._number, names))):
            return None
        self._number += 1
        self.ready[names] = packed
        return packed

    @property
    def full(self) -> bool:
        """A stream has only so many layouts; rows of a new one can't be written any more."""
        return self._number >= MAX_STREAM_LAYOUTS

    def knows(self, names: tuple[str, ...]) -> bool:
        """Whether these names were seen, and so checked, before."""
        return names in self.ready or names in self._parts

    def parts(self, names: tuple[str, ...]) -> list[tuple[str, ...]]:
        """`names` in pieces of which each fits a record of `max_bytes`, as layout and as row."""
        if names in self.ready:
            return [names]
        known = self._parts.get(names)
        if known is None:
            known = _split(names, self._max_bytes)
            if len(known) > 1:
                self._parts[names] = known
        return known


def _split(names: tuple[str, ...], max_bytes: int) -> list[tuple[str, ...]]:
    most = min(MAX_NAMES_PER_ROW, (max_bytes - ROW_HEAD.size) // 8)
    whole = len(names) <= most and len(wire.pack([LAYOUT, 0, list(names)])) + 8 <= max_bytes
    if whole or len(names) == 1:
        return [names]
    half = len(names) // 2
    return _split(names[:half], max_bytes) + _split(names[half:], max_bytes)


def _packed(number: int, count: int) -> Packed:
    """The constants are cut out of a whole row, so that records.py stays the one place that knows its bytes."""
    row = row_struct(count).pack(*row_head(number, 0, 0.0, 1.0, count), *(0.0,) * count)
    pack_into = struct.Struct(_FORMAT.format(count)).pack_into
    return pack_into, row[:8], row[25 : ROW_HEAD.size], len(row), count
