"""The messages between a client and the daemon: a header frame and, for a batch alone, a payload frame.

A header is the MessagePack array [version, type, body]. What each body holds is the dataclass below; SPEC.md
says it for other languages. Decoding checks every field, so that what comes out may be trusted to have its type.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, ClassVar, Union

from asynclog_proto import wire
from asynclog_proto.errors import LimitError, ProtocolError, VersionError
from asynclog_proto.limits import MAX_BATCH_BYTES, MAX_HEADER_BYTES, MAX_WORLD_SIZE

VERSION = 1


@dataclass(frozen=True, slots=True)
class Hello:
    """A stream opens, or opens again after a reconnect. Client to daemon.

    `dir` is the absolute directory of all runs; `ring` and `spool` are paths on the client's node, "" when
    there is none; `launch` is one for all ranks that were started together (a new one begins a new generation of
    the run); `first_seq` is the oldest record that the client still holds; `backends` is None for the
    daemon's own choice.
    """

    TYPE: ClassVar[int] = 1
    project: str
    name: str
    dir: str
    rank: int
    world_size: int
    incarnation: str
    launch: str
    first_seq: int
    pid: int
    host: str
    ring: str = ""
    spool: str = ""
    backends: Mapping[str, Any] | None = None
    client: str = ""


@dataclass(frozen=True, slots=True)
class Batch:
    """Records `first_seq` to `first_seq + count - 1`; the payload frame holds them end to end. Client to daemon."""

    TYPE: ClassVar[int] = 2
    first_seq: int
    count: int


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The rank lives. `step` is its watermark (-1 before any); the counts are of logged values since the
    stream began: `issued` of them all, `dropped` by cause those that never became a record. Client to daemon."""

    TYPE: ClassVar[int] = 3
    step: int
    issued: int
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Finish:
    """Asks for a Ledger once all that the stream said is in the local file backends. Client to daemon."""

    TYPE: ClassVar[int] = 4
    issued: int
    dropped: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Query:
    """Asks the daemon for a Report, or with `drain`/`stop` to finish its work first or to end. Tool to daemon."""

    TYPE: ClassVar[int] = 5
    what: str = "status"


@dataclass(frozen=True, slots=True)
class Welcome:
    """The stream is open: go on from `next_seq`, with at most `credit` bytes unacked. Daemon to client."""

    TYPE: ClassVar[int] = 16
    next_seq: int
    credit: int


@dataclass(frozen=True, slots=True)
class Ack:
    """Every record before `next_seq` is journaled. Daemon to client."""

    TYPE: ClassVar[int] = 17
    next_seq: int
    credit: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The daemon does not know this stream, or missed a batch: say Hello again. Daemon to client."""

    TYPE: ClassVar[int] = 18
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The stream can't be taken, for good; `reason` is for a person. Daemon to client."""

    TYPE: ClassVar[int] = 19
    reason: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """What became of the run's values so far, per backend; `complete` when nothing local is pending."""

    TYPE: ClassVar[int] = 20
    complete: bool
    ledger: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Report:
    """The daemon's whole state, for `asynclog status`. Daemon to tool."""

    TYPE: ClassVar[int] = 21
    report: Mapping[str, Any]


Message = Union[Hello, Batch, Heartbeat, Finish, Query, Welcome, Ack, Reset, Refused, Ledger, Report]  # noqa: UP007 - evaluated at run time on 3.10

_TYPES: dict[int, Any] = {
    kind.TYPE: kind
    for kind in (Hello, Batch, Heartbeat, Finish, Query, Welcome, Ack, Reset, Refused, Ledger, Report)
}


def encode(message: Message, payload: bytes | memoryview | None = None) -> list[bytes | memoryview]:
    """The frames of a message, ready for `send_multipart`."""
    body = {field.name: getattr(message, field.name) for field in fields(message)}
    header = wire.pack([VERSION, message.TYPE, body])
    if len(header) > MAX_HEADER_BYTES and not isinstance(message, (Ledger, Report)):
        raise LimitError(f"a header of {len(header)} bytes; at most {MAX_HEADER_BYTES} are allowed")
    return [header] if payload is None else [header, payload]


def decode(parts: Sequence[bytes | memoryview], *, max_header: int = MAX_HEADER_BYTES) -> tuple[Message, memoryview]:
    """The message and its payload (empty but for a batch). Raises ProtocolError, never anything else."""
    if not 1 <= len(parts) <= 2:
        raise ProtocolError(f"a message has a header and at most a payload, not {len(parts)} frames")
    fields_ = wire.unpack(parts[0], max_bytes=max_header)
    if not isinstance(fields_, list) or len(fields_) != 3 or type(fields_[0]) is not int:
        raise ProtocolError("a header is the array [version, type, body]")
    version, kind, body = fields_
    if version != VERSION:
        raise VersionError(f"protocol version {version}; this side speaks version {VERSION}")
    build = _TYPES.get(kind) if type(kind) is int else None
    if build is None:
        raise ProtocolError(f"unknown type of message: {kind!r}")
    payload = memoryview(parts[1]) if len(parts) == 2 else memoryview(b"")
    if len(payload) > MAX_BATCH_BYTES:
        raise LimitError(f"a payload of {len(payload)} bytes; at most {MAX_BATCH_BYTES} are allowed")
    if bool(len(payload)) != (build is Batch):
        raise ProtocolError("a batch has a payload and nothing else has")
    return _build(build, body), payload


def _build(build: Any, body: Any) -> Message:
    if not isinstance(body, dict):
        raise ProtocolError(f"{build.__name__}: the body is a map")
    known = {field.name: str(field.type) for field in fields(build)}
    for name, value in body.items():
        if name in known and not _CHECKS[known[name]](value):
            raise ProtocolError(f"{build.__name__}.{name}: {value!r} is not {known[name]}")
    try:
        # Fields that this version does not know are left out: a later version may add some.
        message: Message = build(**{name: value for name, value in body.items() if name in known})
    except TypeError as error:
        raise ProtocolError(f"{build.__name__}: a field is missing: {error}") from error
    if isinstance(message, Hello):
        _check_hello(message)
    if isinstance(message, Batch) and message.count == 0:
        raise ProtocolError("Batch.count: a batch holds at least one record")
    return message


def _check_hello(hello: Hello) -> None:
    if not 1 <= hello.world_size <= MAX_WORLD_SIZE:
        raise LimitError(f"Hello.world_size: {hello.world_size} is not in 1..{MAX_WORLD_SIZE}")
    if hello.rank >= hello.world_size:
        raise ProtocolError(f"Hello.rank: rank {hello.rank} of a world of {hello.world_size}")
    if not hello.incarnation.isalnum() or len(hello.incarnation) > 32:
        raise ProtocolError("Hello.incarnation: 1 to 32 letters and digits")


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 1 << 63


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_counts(value: object) -> bool:
    return isinstance(value, dict) and all(_is_text(k) and _is_count(v) for k, v in value.items())


def _is_map(value: object) -> bool:
    return isinstance(value, dict) and all(_is_text(key) for key in value)


_CHECKS: dict[str, Any] = {
    "int": lambda value: type(value) is int and -1 <= value < 1 << 63,
    "str": _is_text,
    "bool": lambda value: isinstance(value, bool),
    "Mapping[str, int]": _is_counts,
    "Mapping[str, Any]": _is_map,
    "Mapping[str, Any] | None": lambda value: value is None or _is_map(value),
}
