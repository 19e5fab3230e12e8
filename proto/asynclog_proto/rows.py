"""The ROW, a record's most frequent kind, in its one fixed form: see SPEC.md, byte by byte.

Every field has its full width, so that the rows of one layout have one length and a run of them is a table.
"""

from __future__ import annotations

import struct
from typing import Any

from asynclog_proto.errors import ProtocolError
from asynclog_proto.frozen import frozen
from asynclog_proto.limits import MAX_NAMES_PER_ROW

ROW = 1

ROW_HEAD = struct.Struct(">BBBIBqBdBdBI")
"""array6, 1, u32 layout, i64 step, f64 time, f64 weight, bin32 length: 39 bytes ahead of the values."""

ROW_START = b"\x96\x01"
"""What every row begins with, and no other record."""

_TAGS = (0x96, ROW, 0xCE, 0xD3, 0xCB, 0xCB, 0xC6)


@frozen
class Row:
    """One call of `log()`: float64 values of a layout's names, at a step (int64), time (s since the epoch)."""

    layout: int
    step: int
    time: float
    weight: float
    values: tuple[float, ...]


def row_struct(count: int) -> struct.Struct:
    """The packer of a whole row of `count` values; its arguments are ROW_HEAD's and then the values."""
    return struct.Struct(f"{ROW_HEAD.format}{count}d")


def row_size(count: int) -> int:
    """Bytes of a row of `count` values."""
    return ROW_HEAD.size + 8 * count


def row_head(layout: int, step: int, time: float, weight: float, count: int) -> tuple[Any, ...]:
    """The arguments ahead of the values for `row_struct(count)`."""
    return (0x96, ROW, 0xCE, layout, 0xD3, step, 0xCB, time, 0xCB, weight, 0xC6, 8 * count)


def encode_row(row: Row) -> bytes:
    """A row's bytes. Raises ProtocolError for a field that does not fit, and for no or too many values."""
    head = row_head(row.layout, row.step, row.time, row.weight, len(row.values))
    check_row_head(head)
    try:
        return row_struct(len(row.values)).pack(*head, *row.values)
    except (struct.error, OverflowError) as error:
        raise ProtocolError(f"a row's field does not fit: {error}") from error


def decode_row(data: bytes | memoryview) -> Row:
    """The row that `data` holds, whole. Raises ProtocolError when it holds anything else."""
    if len(data) < ROW_HEAD.size:
        raise ProtocolError("a row is cut short")
    fields = ROW_HEAD.unpack_from(data)
    check_row_head(fields)
    if len(data) != ROW_HEAD.size + fields[11]:
        raise ProtocolError("a row's length does not fit its values")
    values = struct.unpack_from(f">{fields[11] // 8}d", data, ROW_HEAD.size)
    return Row(layout=fields[3], step=fields[5], time=fields[7], weight=fields[9], values=values)


def row_end(view: memoryview, at: int) -> int:
    """Where the row that begins at `at` ends, by its head alone; possibly after the view's end."""
    if at + ROW_HEAD.size > len(view):
        raise ProtocolError("a row is cut short")
    length: int = ROW_HEAD.unpack_from(view, at)[-1]
    return at + ROW_HEAD.size + length


def check_row_head(fields: tuple[Any, ...]) -> None:
    """Raise ProtocolError unless the fixed bytes of a row's head are what the one encoding demands."""
    if (fields[0], fields[1], fields[2], fields[4], fields[6], fields[8], fields[10]) != _TAGS:
        raise ProtocolError("a row has one encoding only: every field at its full width")
    if fields[11] % 8 or not 0 < fields[11] <= 8 * MAX_NAMES_PER_ROW:
        raise ProtocolError(f"a row's values take 8 bytes each, 1 to {MAX_NAMES_PER_ROW} of them")
