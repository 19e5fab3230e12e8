"""What a pipeline and its worker processes say to each other, as bytes.

A frame is the length of its head (u32) and of its data (u64), little-endian, the head (MessagePack) and the data.

    a request    [kind, [[role, dtype, shape], ...], options, body or nil, [file, offset, size] or nil, paths]
    the answers  ["ready"]   ["encoded", form, options] and data   ["unfit", reason]   ["spent", reason]: it ends
                 ["dropped"]: the rank has dropped the body
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

from asynclog_proto import wire
from asynclog_proto.errors import ProtocolError
from asynclog_proto.limits import MAX_MEDIA_OPTIONS
from asynclog_proto.media import Media, Place, Section
from asynclogd.media import bodies

LENGTHS = struct.Struct("<IQ")
MAX_HEAD = 4 * MAX_MEDIA_OPTIONS
MAX_ENCODED = 256 << 20
"""Bytes of one encoded item."""

MAX_FORM = 200


@dataclass(frozen=True, slots=True)
class Request:
    """One item to encode. Its body is inline, or at a place in the first of `paths` that is there."""

    kind: str
    sections: tuple[Section, ...]
    options: dict[str, Any]
    body: bytes | Place
    paths: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What a worker said; `word` is the first field of the head, `fields` are the others."""

    word: str
    fields: tuple[Any, ...]
    data: bytes | bytearray = b""


def frame(head: list[Any], data: bytes = b"") -> bytes:
    """The bytes of a frame."""
    packed = wire.pack(head)
    return LENGTHS.pack(len(packed), len(data)) + packed + data


def request_of(record: Media, outbox: str, spool: str) -> Request:
    """The request for a record of a stream that has this outbox and spool."""
    body = record.body
    paths = bodies.candidates(body, outbox, spool) if isinstance(body, Place) else []
    return Request(record.kind, record.sections, dict(record.options), body, tuple(paths))


def request_bytes(request: Request) -> bytes:
    """The frame of a request."""
    body = request.body
    sections = [[section.role, section.dtype, list(section.shape)] for section in request.sections]
    place = [body.file, body.offset, body.size] if isinstance(body, Place) else None
    inline = None if isinstance(body, Place) else body
    return frame([request.kind, sections, request.options, inline, place, list(request.paths)])


def read_request(head: bytes) -> Request:
    """The request of a head that `request_bytes` has made."""
    kind, sections, options, inline, place, paths = wire.unpack(head)
    made = tuple(Section(role, dtype, tuple(shape)) for role, dtype, shape in sections)
    return Request(kind, made, options, inline if place is None else Place(*place), tuple(paths))


def lengths(data: bytes | bytearray) -> tuple[int, int]:
    """The lengths that begin a frame. Raises ProtocolError for more than is allowed."""
    head, body = LENGTHS.unpack(data)
    if head > MAX_HEAD or body > MAX_ENCODED:
        raise ProtocolError(f"{body} bytes; an encoded item has at most {MAX_ENCODED}")
    return int(head), int(body)


def read_answer(head: bytes, data: bytes | bytearray) -> Answer:
    """What a worker said. Raises ProtocolError for what it can't have meant: an item may have broken it."""
    fields = wire.unpack(head, max_bytes=MAX_HEAD)
    if not isinstance(fields, list) or not fields:
        raise ProtocolError("a worker's answer is an array")
    word, *rest = fields
    if word in ("ready", "dropped") and not rest:
        return Answer(word, ())
    if word == "encoded" and len(rest) == 2:
        form, options = rest
        if isinstance(form, str) and len(form) <= MAX_FORM and isinstance(options, dict):
            return Answer("encoded", (form, options), data)
    if word in ("unfit", "spent") and len(rest) == 1 and isinstance(rest[0], str):
        return Answer(word, (rest[0],))
    raise ProtocolError("a worker's answer is malformed")
