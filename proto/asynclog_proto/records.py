"""The records of a stream: what one rank says, in order, each one MessagePack array.

    [1, layout, step, time, weight, values]   ROW     values: bin, big-endian float64, one a name
    [2, layout, [name, ...]]                  LAYOUT  the names that a row's values belong to
    [3, pattern, {reduce, per_rank}]          DEFINE  how names that match are reduced
    [4, {name: value}]                        PARAMS  hyperparameters, flat
    [5, {name: value}]                        SUMMARY final values, flat
    [6, status]                               END     the rank's stream is complete

A ROW has one encoding only, with every field at its full width, so that the rows of one layout have one
length and a run of them is a table (see SPEC.md). The others may use any valid MessagePack form.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Union

from asynclog_proto import wire
from asynclog_proto.errors import LimitError, ProtocolError
from asynclog_proto.limits import MAX_NAME_BYTES, MAX_NAMES_PER_ROW, MAX_RECORD_BYTES, MAX_TEXT_BYTES
from asynclog_proto.reductions import REDUCTIONS

ROW, LAYOUT, DEFINE, PARAMS, SUMMARY, END = 1, 2, 3, 4, 5, 6
PAD = 0xC0
"""MessagePack nil: in a ring, says that the rest of the lap is empty. Never on the wire."""

ROW_HEAD = struct.Struct(">BBBIBqBdBdBI")
"""array6, 1, u32 layout, i64 step, f64 time, f64 weight, bin32 length: 39 bytes ahead of the values."""

STATUSES = ("success", "failed", "killed")

Scalar = Union[None, bool, int, float, str]  # noqa: UP007 - evaluated at run time on 3.10


@dataclass(frozen=True, slots=True)
class Row:
    """One call of `log()`: float64 values of a layout's names, at a step (int64) and time (s since the epoch)."""

    layout: int
    step: int
    time: float
    weight: float
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """The ordered names that the values of a row belong to; numbered within its stream."""

    layout: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Define:
    """Names that match `pattern` (fnmatch) are reduced by `reduce`, the first under the plain name."""

    pattern: str
    reduce: tuple[str, ...]
    per_rank: bool = False


@dataclass(frozen=True, slots=True)
class Params:
    """Hyperparameters, names flattened with `/`."""

    values: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Summary:
    """Final values of a run, names flattened with `/`."""

    values: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class End:
    """The rank has said all: one of STATUSES."""

    status: str


Record = Union[Row, Layout, Define, Params, Summary, End]  # noqa: UP007 - evaluated at run time on 3.10


def row_struct(count: int) -> struct.Struct:
    """The packer of a whole row of `count` values; its arguments are ROW_HEAD's and then the values."""
    return struct.Struct(f"{ROW_HEAD.format}{count}d")


def row_size(count: int) -> int:
    """Bytes of a row of `count` values."""
    return ROW_HEAD.size + 8 * count


def row_head(layout: int, step: int, time: float, weight: float, count: int) -> tuple[Any, ...]:
    """The arguments ahead of the values for `row_struct(count)`."""
    return (0x96, ROW, 0xCE, layout, 0xD3, step, 0xCB, time, 0xCB, weight, 0xC6, 8 * count)


def encode(record: Record) -> bytes:
    """One record's bytes. Raises LimitError when it is larger than a record may be."""
    data = _encode(record)
    if len(data) > MAX_RECORD_BYTES:
        raise LimitError(f"a record of {len(data)} bytes; at most {MAX_RECORD_BYTES} are allowed")
    return data


def _encode(record: Record) -> bytes:
    if isinstance(record, Row):
        head = row_head(record.layout, record.step, record.time, record.weight, len(record.values))
        return row_struct(len(record.values)).pack(*head, *record.values)
    if isinstance(record, Layout):
        return wire.pack([LAYOUT, record.layout, list(record.names)])
    if isinstance(record, Define):
        options = {"reduce": list(record.reduce), "per_rank": record.per_rank}
        return wire.pack([DEFINE, record.pattern, options])
    if isinstance(record, Params):
        return wire.pack([PARAMS, dict(record.values)])
    if isinstance(record, Summary):
        return wire.pack([SUMMARY, dict(record.values)])
    return wire.pack([END, record.status])


def decode(data: bytes | memoryview) -> Record:
    """The record that `data` holds, whole. Raises ProtocolError when it holds anything else."""
    if data[:2] == b"\x96\x01":
        return _decode_row(data)
    fields = wire.unpack(data)
    if not isinstance(fields, list) or not fields:
        raise ProtocolError("a record is a MessagePack array that begins with its kind")
    return from_fields(fields)


def from_fields(fields: Sequence[Any]) -> Record:
    """The record of an already decoded array (any kind but ROW)."""
    kind = fields[0]
    reader = _READERS.get(kind) if type(kind) is int else None
    if reader is None:
        raise ProtocolError(f"unknown kind of record: {kind!r}")
    arity, build = reader
    if len(fields) != arity:
        raise ProtocolError(f"a record of kind {kind} has {arity} fields, not {len(fields)}")
    return build(*fields[1:])


def iterate(data: bytes | memoryview) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of each record in a batch's payload, checking only that they are well framed."""
    view = memoryview(data)
    at = 0
    while at < len(view):
        end = record_end(view, at)
        yield at, end
        at = end


def record_end(view: memoryview, at: int) -> int:
    """Where the record that begins at `at` ends. Raises ProtocolError when it is cut short."""
    if view[at : at + 2] == b"\x96\x01":
        if at + ROW_HEAD.size > len(view):
            raise ProtocolError("a row is cut short")
        end: int = at + ROW_HEAD.size + ROW_HEAD.unpack_from(view, at)[-1]
    else:
        end = at + wire.object_size(view[at:])
    if end > len(view):
        raise ProtocolError("a record is cut short")
    return end


def check_row_head(fields: tuple[Any, ...]) -> None:
    """Raise ProtocolError unless the fixed bytes of a row's head are what the one encoding demands."""
    if (fields[0], fields[1], fields[2], fields[4], fields[6], fields[8], fields[10]) != _ROW_TAGS:
        raise ProtocolError("a row has one encoding only: every field at its full width")
    if fields[11] % 8 or fields[11] > 8 * MAX_NAMES_PER_ROW:
        raise ProtocolError(f"a row's values take 8 bytes each, at most {MAX_NAMES_PER_ROW} of them")


_ROW_TAGS = (0x96, ROW, 0xCE, 0xD3, 0xCB, 0xCB, 0xC6)


def _decode_row(data: bytes | memoryview) -> Row:
    if len(data) < ROW_HEAD.size:
        raise ProtocolError("a row is cut short")
    fields = ROW_HEAD.unpack_from(data)
    check_row_head(fields)
    if len(data) != ROW_HEAD.size + fields[11]:
        raise ProtocolError("a row's length does not fit its values")
    values = struct.unpack_from(f">{fields[11] // 8}d", data, ROW_HEAD.size)
    return Row(layout=fields[3], step=fields[5], time=fields[7], weight=fields[9], values=values)


def check_name(name: object) -> str:
    """A metric's name as it may travel. Raises ProtocolError for anything else."""
    if not isinstance(name, str) or not name:
        raise ProtocolError(f"a name is a non-empty string, not {name!r}")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise LimitError(f"a name of {len(name.encode())} bytes; at most {MAX_NAME_BYTES} are allowed")
    return name


def _layout(number: Any, names: Any) -> Layout:
    if type(number) is not int or not 0 <= number < 1 << 32:
        raise ProtocolError(f"a layout's number is an unsigned 32-bit integer, not {number!r}")
    if not isinstance(names, list) or not 0 < len(names) <= MAX_NAMES_PER_ROW:
        raise ProtocolError(f"a layout has 1 to {MAX_NAMES_PER_ROW} names")
    if len(set(names)) != len(names):
        raise ProtocolError("a layout has each name once")
    return Layout(number, tuple(check_name(name) for name in names))


def _define(pattern: Any, options: Any) -> Define:
    if not isinstance(options, dict) or not options.keys() <= {"reduce", "per_rank"}:
        raise ProtocolError("a define has the options reduce and per_rank")
    reduce, per_rank = options.get("reduce"), options.get("per_rank", False)
    if not isinstance(reduce, list) or not reduce or not set(reduce) <= set(REDUCTIONS):
        raise ProtocolError(f"reduce is a list of {', '.join(REDUCTIONS)}; got {reduce!r}")
    if not isinstance(per_rank, bool):
        raise ProtocolError(f"per_rank is true or false, not {per_rank!r}")
    return Define(check_name(pattern), tuple(reduce), per_rank)


def _scalars(values: Any) -> dict[str, Scalar]:
    if not isinstance(values, dict):
        raise ProtocolError("params and summary are maps of name to value")
    for name, value in values.items():
        check_name(name)
        if isinstance(value, str) and len(value.encode()) > MAX_TEXT_BYTES:
            raise LimitError(f"{name!r}: a text of more than {MAX_TEXT_BYTES} bytes")
        if value is not None and not isinstance(value, (bool, int, float, str)):
            raise ProtocolError(f"{name!r}: a value is null, a bool, a number or a string")
    return values


def _end(status: Any) -> End:
    if status not in STATUSES:
        raise ProtocolError(f"a status is one of {', '.join(STATUSES)}, not {status!r}")
    return End(status)


_READERS: dict[int, tuple[int, Any]] = {
    LAYOUT: (3, _layout),
    DEFINE: (3, _define),
    PARAMS: (2, lambda values: Params(_scalars(values))),
    SUMMARY: (2, lambda values: Summary(_scalars(values))),
    END: (2, _end),
}
