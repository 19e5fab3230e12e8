"""The kinds of records but rows: each as an object, and as the array of fields that travels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Union

from asynclog_proto import wire
from asynclog_proto.errors import LimitError, ProtocolError
from asynclog_proto.frozen import frozen
from asynclog_proto.limits import MAX_NAME_BYTES, MAX_NAMES_PER_ROW, MAX_TEXT_BYTES
from asynclog_proto.media import MEDIA, Media, fields_of, media
from asynclog_proto.reductions import REDUCTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LAYOUT, DEFINE, PARAMS, SUMMARY, END, PASS, HOLD, REWIND = 2, 3, 4, 5, 6, 7, 8, 10

STATUSES = ("success", "failed", "interrupted", "killed")
"""How a rank may end; `interrupted` is by Ctrl-C, which its process has seen."""

Scalar = Union[None, bool, int, float, str]  # noqa: UP007 - evaluated at run time on 3.10


@frozen
class Layout:
    """The ordered names that the values of a row belong to; numbered within its stream."""

    layout: int
    names: tuple[str, ...]


@frozen
class Define:
    """Names that match `pattern` (fnmatch) are reduced by `reduce`, the first under the plain name. Rows that have one
    of them are in `lane`, and with `own_steps` their steps are not the run's.
    """

    pattern: str
    reduce: tuple[str, ...]
    per_rank: bool = False
    lane: str = ""
    own_steps: bool = False


@frozen
class Params:
    """Hyperparameters, names flattened with `/`."""

    values: Mapping[str, Scalar]


@frozen
class Summary:
    """Final values of a run, names flattened with `/`."""

    values: Mapping[str, Scalar]


@frozen
class End:
    """The rank has said all: one of STATUSES."""

    status: str


@frozen
class Pass:
    """The rank has said all of the steps up to `step`: nobody has to wait for it there. One a flush."""

    step: int


@frozen
class Hold:
    """Values of `step` or later are still on their way: the rank is not past `step`, whatever rows follow. None
    takes the hold back.
    """

    step: int | None


@frozen
class Rewind:
    """The run goes back to `step`: the points so far of that step and later are superseded by what follows."""

    step: int


Kind = Union[Layout, Define, Params, Summary, End, Pass, Hold, Rewind, Media]  # noqa: UP007 - evaluated at run time on 3.10


def to_fields(record: Kind) -> list[Any]:
    """The array of a record."""
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


def from_fields(fields: Sequence[Any]) -> Kind:
    """The record of an already decoded array (any kind but ROW)."""
    kind = fields[0]
    reader = _READERS.get(kind) if type(kind) is int else None
    if reader is None:
        raise ProtocolError(f"unknown kind of record: {wire.shown(kind)}")
    arity, build = reader
    if len(fields) != arity:
        raise ProtocolError(f"a record of kind {kind} has {arity} fields, not {len(fields)}")
    record: Kind = build(*fields[1:])
    return record


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
