"""The records of a stream: what one rank says, in order, each one MessagePack array.

    [1, layout, step, time, weight, values]   ROW     values: bin, big-endian float64, one a name
    [2, layout, [name, ...]]                  LAYOUT  the names that a row's values belong to
    [3, pattern, {reduce, per_rank, ...}]     DEFINE  how names that match are reduced
    [4, {name: value}]                        PARAMS  hyperparameters, flat
    [5, {name: value}]                        SUMMARY final values, flat
    [6, status]                               END     the rank's stream is complete
    [7, step]                                 PASS    the rank has said all of the steps up to this one
    [8, step]                                 HOLD    values from this step on are still on their way; nil: no more
    [9, name, step, time, kind, ...]          MEDIA   an image, a sound, a histogram, ... (media.py)
    [10, step]                                REWIND  what came of this step and later is superseded

A ROW has one form only (rows.py); the others may use any valid MessagePack form.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

from asynclog_proto import wire
from asynclog_proto.errors import LimitError, ProtocolError
from asynclog_proto.kinds import (
    DEFINE,
    END,
    HOLD,
    LAYOUT,
    PARAMS,
    PASS,
    REWIND,
    STATUSES,
    SUMMARY,
    Define,
    End,
    Hold,
    Kind,
    Layout,
    Params,
    Pass,
    Rewind,
    Scalar,
    Summary,
    check_name,
    from_fields,
    to_fields,
)
from asynclog_proto.limits import MAX_BATCH_RECORDS, MAX_RECORD_BYTES, MAX_RECORD_ELEMENTS
from asynclog_proto.media import MEDIA, Media
from asynclog_proto.rows import (
    ROW,
    ROW_HEAD,
    ROW_START,
    Row,
    check_row_head,
    decode_row,
    encode_row,
    row_end,
    row_head,
    row_size,
    row_struct,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DEFINE", "END", "HOLD", "LAYOUT", "MEDIA", "PAD", "PARAMS", "PASS", "REWIND", "ROW", "ROW_HEAD", "STATUSES",
    "SUMMARY", "Define", "End", "Hold", "Layout", "Media", "Params", "Pass", "Record", "Rewind", "Row", "Scalar",
    "Summary", "check_name", "check_row_head", "decode", "encode", "from_fields", "iterate", "record_end",
    "row_head", "row_size", "row_struct",
]  # fmt: skip

PAD = 0xC0
"""MessagePack nil: in a ring, says that the rest of the lap is empty. Never on the wire."""

_ARRAYS = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))  # the first bytes of a MessagePack array

Record = Union[Row, Kind]  # noqa: UP007 - evaluated at run time on 3.10


def encode(record: Record) -> bytes:
    """One record's bytes, which `decode` takes: raises ProtocolError for a field that it would not."""
    if isinstance(record, Row):
        return encode_row(record)
    fields = to_fields(record)
    from_fields(fields)
    data = wire.pack(fields)
    if len(data) > MAX_RECORD_BYTES:
        raise LimitError(f"a record of {len(data)} bytes; at most {MAX_RECORD_BYTES} are allowed")
    return data


def decode(data: bytes | memoryview) -> Record:
    """The record that `data` holds, whole. Raises ProtocolError when it holds anything else."""
    if bytes(data[:2]) == ROW_START:
        return decode_row(data)
    fields = wire.unpack(data, max_elements=MAX_RECORD_ELEMENTS)
    if not isinstance(fields, list) or not fields:
        raise ProtocolError("a record is an array that begins with its kind")
    return from_fields(fields)


def iterate(data: bytes | memoryview, count: int | None = None) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each record in a batch's payload, checking only that they are well framed.

    Raises ProtocolError where a record is cut short, and when they are not `count`, where it is given.
    """
    view = memoryview(data)
    at = number = 0
    most = MAX_BATCH_RECORDS if count is None else count
    while at < len(view):
        number += 1
        if number > most:
            raise ProtocolError(f"more records in a batch than {most}")
        end = record_end(view, at)
        yield at, end
        at = end
    if count is not None and number != count:
        raise ProtocolError(f"{number} records in a batch of {count}")


def record_end(view: memoryview, at: int) -> int:
    """Where the record that begins at `at` ends. Raises ProtocolError when it is cut short."""
    if bytes(view[at : at + 2]) == ROW_START:
        end = row_end(view, at)
    elif at < len(view) and view[at] in _ARRAYS:
        end = at + wire.object_size(view[at:])
    else:
        raise ProtocolError("a record is a MessagePack array")
    if end > len(view):
        raise ProtocolError("a record is cut short")
    return end
