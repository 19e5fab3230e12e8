"""Media records: what a rank says beside numbers. The record is small; its body, when it is large, lies in a file.

    [9, name, step, time, kind, [[role, dtype, [dim, ...]], ...], {option: value}, body]   MEDIA

The body is its sections end to end, each an array in C order, little-endian, or text (UTF-8) or bytes. In the record
it is a bin, of INLINE_BYTES at most, or a place: [file, offset, size]. File 0 is the stream's outbox (outboxfile.py),
file n its spool's `media-<n>.seg`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Union

from asynclog_proto import wire
from asynclog_proto.errors import LimitError, ProtocolError
from asynclog_proto.frozen import frozen
from asynclog_proto.limits import MAX_MEDIA_BYTES, MAX_MEDIA_OPTIONS, MAX_NAME_BYTES, MAX_SECTIONS

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "DTYPES",
    "INLINE_BYTES",
    "KINDS",
    "MEDIA",
    "Media",
    "Place",
    "Section",
    "encode_media",
    "fields_of",
    "media",
]

MEDIA = 9

KINDS = (
    "image", "video", "audio", "text", "histogram", "pr_curve", "embedding", "graph", "mesh", "table", "layout",
    "html", "file",
)  # fmt: skip

DTYPES = {
    "uint8": 1, "int8": 1, "bool": 1, "text": 1, "bytes": 1, "int16": 2, "float16": 2, "bfloat16": 2, "int32": 4,
    "float32": 4, "int64": 8, "float64": 8,
}  # fmt: skip
"""Bytes of an element."""

INLINE_BYTES = 4096
MAX_DIMS = 8

Option = Union[None, bool, int, float, str, list[Any]]  # noqa: UP007 - evaluated at run time on 3.10
"""A list is of such values, without lists."""


@frozen
class Section:
    """A part of a body. `role` says what it is (image, boxes, labels, ...), text and bytes have one dimension."""

    role: str
    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return math.prod(self.shape) * DTYPES[self.dtype]


@frozen
class Place:
    """Where a body lies: in the outbox (file 0, `offset` counted over all laps) or in a file of the spool."""

    file: int
    offset: int
    size: int


@frozen
class Media:
    """One image, sound, text, histogram, ... of one rank. `time` is in s since the epoch."""

    name: str
    step: int
    time: float
    kind: str
    sections: tuple[Section, ...]
    options: Mapping[str, Option]
    body: bytes | Place


def fields_of(record: Media) -> list[Any]:
    """The array that is packed."""
    body = record.body
    return [
        MEDIA,
        record.name,
        record.step,
        record.time,
        record.kind,
        [[section.role, section.dtype, list(section.shape)] for section in record.sections],
        dict(record.options),
        [body.file, body.offset, body.size] if isinstance(body, Place) else body,
    ]


def encode_media(record: Media) -> bytes:
    """What records.encode makes of it, unchecked: for who has checked its fields already."""
    return wire.pack(fields_of(record))


def media(name: Any, step: Any, time: Any, kind: Any, sections: Any, options: Any, body: Any) -> Media:
    """The record of decoded fields; `name` and `step` are checked already. Raises ProtocolError."""
    if type(time) is not float or not math.isfinite(time):
        raise ProtocolError(f"a time is a finite float, not {wire.shown(time)}")
    if kind not in KINDS:
        raise ProtocolError(f"a kind of media is one of {', '.join(KINDS)}, not {wire.shown(kind)}")
    if not isinstance(sections, list) or len(sections) > MAX_SECTIONS:
        raise ProtocolError(f"media have at most {MAX_SECTIONS} sections")
    made = tuple(map(_section, sections))
    where = _body(body)
    size = sum(section.size for section in made)
    if size > MAX_MEDIA_BYTES:
        raise LimitError(f"media of {size} bytes; at most {MAX_MEDIA_BYTES} are allowed")
    if size != (where.size if isinstance(where, Place) else len(where)):
        raise ProtocolError(f"sections of {size} bytes in a body of another size")
    return Media(name, step, time, kind, made, _options(options), where)


def _section(fields: Any) -> Section:
    if not isinstance(fields, list) or len(fields) != 3:
        raise ProtocolError("a section is [role, dtype, shape]")
    role, dtype, shape = fields
    if not isinstance(role, str) or not 0 < len(role) <= MAX_NAME_BYTES:
        raise ProtocolError(f"a section's role is a short string, not {wire.shown(role)}")
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ProtocolError(f"a section's dtype is one of {', '.join(DTYPES)}, not {wire.shown(dtype)}")
    if not isinstance(shape, list) or len(shape) > MAX_DIMS or not all(map(_is_size, shape)):
        raise ProtocolError(f"a shape has at most {MAX_DIMS} sizes, not {wire.shown(shape)}")
    return Section(role, dtype, tuple(shape))


def _is_size(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_MEDIA_BYTES


def _body(body: Any) -> bytes | Place:
    if isinstance(body, bytes):
        if len(body) > INLINE_BYTES:
            raise LimitError(f"a body of {len(body)} bytes in its record; at most {INLINE_BYTES} are allowed")
        return body
    if not isinstance(body, list) or len(body) != 3 or any(type(n) is not int or not 0 <= n < 1 << 63 for n in body):
        raise ProtocolError(f"a body is bytes or [file, offset, size], not {wire.shown(body)}")
    return Place(*body)


def _options(options: Any) -> dict[str, Option]:
    if not isinstance(options, dict) or not all(isinstance(name, str) for name in options):
        raise ProtocolError("media have a map of options by name")
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        if not all(one is None or isinstance(one, (bool, int, float, str)) for one in values):
            raise ProtocolError(f"the option {wire.shown(name)} is a scalar or a list of scalars")
    if len(wire.pack(options)) > MAX_MEDIA_OPTIONS:
        raise LimitError(f"options of media take at most {MAX_MEDIA_OPTIONS} bytes")
    return options
