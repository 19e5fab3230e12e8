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

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Union

from asynclog_proto import wire
from asynclog_proto.errors import LimitError, ProtocolError
from asynclog_proto.limits import (
    MAX_BATCH_RECORDS,
    MAX_NAME_BYTES,
    MAX_NAMES_PER_ROW,
    MAX_RECORD_BYTES,
    MAX_RECORD_ELEMENTS,
    MAX_TEXT_BYTES,
)
from asynclog_proto.media import MEDIA, Media, fields_of, media
from asynclog_proto.reductions import REDUCTIONS
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
    from collections.abc import Iterator, Mapping, Sequence

__all__ = [
    "DEFINE", "END", "HOLD", "LAYOUT", "MEDIA", "PAD", "PARAMS", "PASS", "REWIND", "ROW", "ROW_HEAD", "STATUSES",
    "SUMMARY", "Define", "End", "Hold", "Layout", "Media", "Params", "Pass", "Record", "Rewind", "Row", "Scalar",
    "Summary", "check_name", "check_row_head", "decode", "encode", "from_fields", "iterate", "record_end",
    "row_head", "row_size", "row_struct",
]  # fmt: skip

LAYOUT, DEFINE, PARAMS, SUMMARY, END, PASS, HOLD, REWIND = 2, 3, 4, 5, 6, 7, 8, 10
PAD = 0xC0
"""MessagePack nil: in a ring, says that the rest of the lap is empty. Never on the wire."""

STATUSES = ("success", "failed", "killed")

_ARRAYS = frozenset((*range(0x90, 0xA0), 0xDC, 0xDD))  # the first bytes of a MessagePack array

Scalar = Union[None, bool, int, float, str]  # noqa: UP007 - evaluated at run time on 3.10


@dataclass(frozen=True, slots=True)
class Layout:
    """The ordered names that the values of a row belong to; numbered within its stream."""

    layout: int
    names: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Define:
    """Names that match `pattern` (fnmatch) are reduced by `reduce`, the first under the plain name. Rows that have one
    of them are in `lane`, and with `own_steps` their steps are not the run's.
    """

    pattern: str
    reduce: tuple[str, ...]
    per_rank: bool = False
    lane: str = ""
    own_steps: bool = False


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


@dataclass(frozen=True, slots=True)
class Pass:
    """The rank has said all of the steps up to `step`: nobody has to wait for it there. One a flush."""

    step: int


@dataclass(frozen=True, slots=True)
class Hold:
    """Values of `step` or later are still on their way: the rank is not past `step`, whatever rows follow. None
    takes the hold back.
    """

    step: int | None


@dataclass(frozen=True, slots=True)
class Rewind:
    """The run goes back to `step`: the points so far of that step and later are superseded by what follows."""

    step: int


Record = Union[Row, Layout, Define, Params, Summary, End, Pass, Hold, Rewind, Media]  # noqa: UP007 - evaluated at run time on 3.10


def encode(record: Record) -> bytes:
    """One record's bytes, which `decode` takes: raises ProtocolError for a field that it would not."""
    if isinstance(record, Row):
        return encode_row(record)
    fields = _fields(record)
    from_fields(fields)
    data = wire.pack(fields)
    if len(data) > MAX_RECORD_BYTES:
        raise LimitError(f"a record of {len(data)} bytes; at most {MAX_RECORD_BYTES} are allowed")
    return data


def _fields(record: Record) -> list[Any]:
    if isinstance(record, Layout):
        return [LAYOUT, record.layout, list(record.names)]
    if isinstance(record, Define):
        options: dict[str, Any] = {"reduce": list(record.reduce), "per_rank": record.per_rank}
        if record.lane:
            options["lane"] = record.lane
        if record.own_steps:
            options["own_steps"] = True
        return [DEFINE, record.pattern, options]
    if isinstance(record, (Params, Summary)):
        return [PARAMS if isinstance(record, Params) else SUMMARY, dict(record.values)]
    if isinstance(record, (Pass, Hold, Rewind)):
        return [{Pass: PASS, Hold: HOLD, Rewind: REWIND}[type(record)], record.step]
    if isinstance(record, Media):
        return fields_of(record)
    assert isinstance(record, End)
    return [END, record.status]


def decode(data: bytes | memoryview) -> Record:
    """The record that `data` holds, whole. Raises ProtocolError when it holds anything else."""
    if bytes(data[:2]) == ROW_START:
        return decode_row(data)
    fields = wire.unpack(data, max_elements=MAX_RECORD_ELEMENTS)
    if not isinstance(fields, list) or not fields:
        raise ProtocolError("a record is an array that begins with its kind")
    return from_fields(fields)


def from_fields(fields: Sequence[Any]) -> Record:
    """The record of an already decoded array (any kind but ROW)."""
    kind = fields[0]
    reader = _READERS.get(kind) if type(kind) is int else None
    if reader is None:
        raise ProtocolError(f"unknown kind of record: {wire.shown(kind)}")
    arity, build = reader
    if len(fields) != arity:
        raise ProtocolError(f"a record of kind {kind} has {arity} fields, not {len(fields)}")
    record: Record = build(*fields[1:])
    return record


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


def check_name(name: object) -> str:
    """A metric's name as it may travel. Raises ProtocolError for anything else."""
    if not isinstance(name, str) or not name:
        raise ProtocolError(f"a name is a non-empty string, not {wire.shown(name)}")
    if _utf8_size(name) > MAX_NAME_BYTES:
        raise LimitError(f"a name of {_utf8_size(name)} bytes; at most {MAX_NAME_BYTES} are allowed")
    return name


def _utf8_size(text: str) -> int:
    try:
        return len(text.encode())
    except UnicodeEncodeError as error:
        raise ProtocolError(f"text with a lone surrogate: {wire.shown(text)}") from error


def _layout(number: Any, names: Any) -> Layout:
    if type(number) is not int or not 0 <= number < 1 << 32:
        raise ProtocolError(f"a layout's number is an unsigned 32-bit integer, not {wire.shown(number)}")
    if not isinstance(names, list) or not 0 < len(names) <= MAX_NAMES_PER_ROW:
        raise ProtocolError(f"a layout has 1 to {MAX_NAMES_PER_ROW} names")
    checked = tuple(check_name(name) for name in names)
    if len(set(checked)) != len(checked):
        raise ProtocolError("a layout has each name once")
    return Layout(number, checked)


def _define(pattern: Any, options: Any) -> Define:
    if not isinstance(options, dict):
        raise ProtocolError("a define has a map of options")
    # Options that this version does not know are left out, as fields of a message are: a later one may add some.
    reduce, lane = options.get("reduce"), options.get("lane", "")
    if not isinstance(reduce, list) or not reduce or any(name not in REDUCTIONS for name in reduce):
        raise ProtocolError(f"reduce is a list of {', '.join(REDUCTIONS)}; got {wire.shown(reduce)}")
    if len(set(reduce)) != len(reduce):
        raise ProtocolError(f"reduce has each reduction once; got {wire.shown(reduce)}")
    per_rank, own_steps = (_flag(options, option) for option in ("per_rank", "own_steps"))
    if lane != "":
        check_name(lane)
    return Define(check_name(pattern), tuple(reduce), per_rank, lane, own_steps)


def _flag(options: dict[str, Any], option: str) -> bool:
    value = options.get(option, False)
    if not isinstance(value, bool):
        raise ProtocolError(f"{option} is true or false, not {wire.shown(value)}")
    return value


def _scalars(values: Any) -> dict[str, Scalar]:
    if not isinstance(values, dict):
        raise ProtocolError("params and summary are maps of name to value")
    if len(values) > MAX_NAMES_PER_ROW:
        raise LimitError(f"params and summary have at most {MAX_NAMES_PER_ROW} names")
    for name, value in values.items():
        check_name(name)
        if isinstance(value, str) and _utf8_size(value) > MAX_TEXT_BYTES:
            raise LimitError(f"{wire.shown(name)}: a text of more than {MAX_TEXT_BYTES} bytes")
        if value is not None and not isinstance(value, (bool, int, float, str)):
            raise ProtocolError(f"{wire.shown(name)}: a value is null, a bool, a number or a string")
    return values


def _end(status: Any) -> End:
    if status not in STATUSES:
        raise ProtocolError(f"a status is one of {', '.join(STATUSES)}, not {wire.shown(status)}")
    return End(status)


def _step(step: Any) -> int:
    if type(step) is not int or not -(1 << 63) <= step < 1 << 63:
        raise ProtocolError(f"a step is an integer of 64 bits, not {wire.shown(step)}")
    return step


_READERS: dict[int, tuple[int, Any]] = {
    LAYOUT: (3, _layout),
    DEFINE: (3, _define),
    PARAMS: (2, lambda values: Params(_scalars(values))),
    SUMMARY: (2, lambda values: Summary(_scalars(values))),
    END: (2, _end),
    PASS: (2, lambda step: Pass(_step(step))),
    HOLD: (2, lambda step: Hold(None if step is None else _step(step))),
    REWIND: (2, lambda step: Rewind(_step(step))),
    MEDIA: (8, lambda name, step, *rest: media(check_name(name), _step(step), *rest)),
}
