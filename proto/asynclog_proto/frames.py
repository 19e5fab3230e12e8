"""The messages between a client and the daemon: a header frame and, for a batch alone, a payload frame.

A header is the MessagePack array [version, type, body]. What each body holds is its dataclass in messages.py; SPEC.md
says it for other languages. Decoding checks every field: what comes out has its type and keeps its limits.
"""

from __future__ import annotations

import math
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from asynclog_proto import __version__, wire
from asynclog_proto.errors import ConfigError, LimitError, ProtocolError, VersionError
from asynclog_proto.limits import (
    MAX_BATCH_BYTES,
    MAX_BATCH_RECORDS,
    MAX_CAUSE_BYTES,
    MAX_CAUSES,
    MAX_HEADER_BYTES,
    MAX_INCARNATION,
    MAX_REPORT_BYTES,
    MAX_WORLD_SIZE,
    SEQ_END,
)
from asynclog_proto.messages import (
    VERSION,
    Ack,
    AddBackend,
    Ask,
    Batch,
    Finish,
    Flush,
    Flushed,
    Heartbeat,
    Hello,
    Ledger,
    Message,
    Query,
    Refused,
    Report,
    Reset,
    Value,
    Welcome,
)
from asynclog_proto.places import check_component
from asynclog_proto.records import check_name

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "VERSION", "Ack", "AddBackend", "Ask", "Batch", "Finish", "Flush", "Flushed", "Heartbeat", "Hello", "Ledger",
    "Message", "Query", "Refused", "Report", "Reset", "Value", "Welcome", "decode", "encode",
]  # fmt: skip

_TYPES: dict[int, Any] = {
    kind.TYPE: kind
    for kind in (
        *(Hello, Batch, Heartbeat, Finish, Query, Flush, Ask, AddBackend),
        *(Welcome, Ack, Reset, Refused, Ledger, Report, Flushed, Value),
    )
}

_FIELDS = {kind: {field.name: str(field.type) for field in fields(kind)} for kind in _TYPES.values()}
"""A message's fields, and what each has to be."""

_LARGE = (Ledger, Report)


def encode(message: Message, payload: bytes | memoryview | None = None) -> list[bytes | memoryview]:
    """The frames of a message, ready for `send_multipart`."""
    body = {name: getattr(message, name) for name in _FIELDS[type(message)]}
    header = wire.pack([VERSION, message.TYPE, body])
    most = MAX_REPORT_BYTES if isinstance(message, _LARGE) else MAX_HEADER_BYTES
    if len(header) > most:
        raise LimitError(f"a header of {len(header)} bytes; at most {most} are allowed")
    return [header] if payload is None else [header, payload]


def decode(parts: Sequence[bytes | memoryview], *, max_header: int = MAX_HEADER_BYTES) -> tuple[Message, memoryview]:
    """The message and its payload (empty but for a batch). Raises ProtocolError, never anything else.

    Who asks a daemon for a Ledger or a Report passes MAX_REPORT_BYTES as `max_header`.
    """
    if not 1 <= len(parts) <= 2:
        raise ProtocolError(f"a message has a header and at most a payload, not {len(parts)} frames")
    if len(parts) == 2 and len(parts[1]) > MAX_BATCH_BYTES:
        raise LimitError(f"a payload of {len(parts[1])} bytes; at most {MAX_BATCH_BYTES} are allowed")
    build, body = _open(wire.unpack(parts[0], max_bytes=max_header))
    payload = memoryview(parts[1]) if len(parts) == 2 else memoryview(b"")
    if (len(parts) == 2, len(payload) > 0) != (build is Batch, build is Batch):
        raise ProtocolError("a batch has a payload and nothing else has")
    return _build(build, body), payload


def _open(header: Any) -> tuple[Any, Any]:
    if not isinstance(header, list) or len(header) < 2 or type(header[0]) is not int:
        raise ProtocolError("a header is the array [version, type, body]")
    version, kind = header[:2]
    if version != VERSION and kind != Refused.TYPE:
        raise VersionError(f"protocol version {version}; asynclog {__version__} speaks version {VERSION}")
    if len(header) != 3 or not isinstance(header[2], dict):
        raise ProtocolError("a header is the array [version, type, body], and the body is a map")
    build = _TYPES.get(kind) if type(kind) is int else None
    if build is None:
        raise ProtocolError(f"unknown type of message: {wire.shown(kind)}")
    return build, header[2]


def _build(build: Any, body: dict[str, Any]) -> Message:
    # Fields that this version does not know are left out: a later version may add some.
    known = {name: kind for name, kind in _FIELDS[build].items() if name in body}
    for name, kind in known.items():
        if not _CHECKS[kind](body[name]):
            raise ProtocolError(f"{build.__name__}.{name}: {wire.shown(body[name])} is not {kind}")
    try:
        message: Message = build(**{name: _frozen(body[name]) for name in known})
    except TypeError as error:
        raise ProtocolError(f"{build.__name__}: a field is missing: {error}") from error
    if check := _MEANINGS.get(build):
        check(message)
    return message


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _check_hello(hello: Hello) -> None:
    if not 1 <= hello.world_size <= MAX_WORLD_SIZE:
        raise LimitError(f"Hello.world_size: {hello.world_size} is not in 1..{MAX_WORLD_SIZE}")
    if hello.rank >= hello.world_size:
        raise ProtocolError(f"Hello.rank: rank {hello.rank} of a world of {hello.world_size}")
    incarnation = hello.incarnation
    if not (incarnation.isascii() and incarnation.isalnum() and len(incarnation) <= MAX_INCARNATION):
        raise ProtocolError(f"Hello.incarnation: 1 to {MAX_INCARNATION} ASCII letters and digits")
    for name, path in (("ring", hello.ring or "/"), ("spool", hello.spool or "/"), ("outbox", hello.outbox or "/")):
        _check_path(f"Hello.{name}", path)
    if not all(options is None or _is_map(options) for options in (hello.backends or {}).values()):
        raise ProtocolError("Hello.backends: the options of each are a map or nil")
    _check_run(hello)


def _check_dropped(message: Heartbeat | Finish) -> None:
    kind, causes = type(message).__name__, message.dropped
    if len(causes) > MAX_CAUSES or any(len(cause.encode()) > MAX_CAUSE_BYTES for cause in causes):
        raise LimitError(f"{kind}.dropped: at most {MAX_CAUSES} causes of at most {MAX_CAUSE_BYTES} bytes")


def _check_run(message: Hello | AddBackend) -> None:
    kind = type(message).__name__
    _check_path(f"{kind}.dir", message.dir)
    try:
        check_component(f"{kind}.project", message.project)
        check_component(f"{kind}.name", message.name)
    except ConfigError as error:
        raise ProtocolError(str(error)) from error


def _check_path(what: str, path: str) -> None:
    if not path.startswith("/") or "\0" in path:
        raise ProtocolError(f"{what}: {wire.shown(path)} is not an absolute path")


def _check_heartbeat(beat: Heartbeat) -> None:
    _check_dropped(beat)
    for name, seconds in (("log_p50_s", beat.log_p50_s), ("log_p99_s", beat.log_p99_s)):
        if seconds is not None and not 0.0 <= seconds < math.inf:
            raise ProtocolError(f"Heartbeat.{name}: {seconds} is not a number of seconds")


def _check_batch(batch: Batch) -> None:
    if not 1 <= batch.count <= MAX_BATCH_RECORDS:
        raise ProtocolError(f"Batch.count: {batch.count} is not in 1..{MAX_BATCH_RECORDS}")
    if batch.first_seq + batch.count >= SEQ_END:
        raise ProtocolError("Batch.first_seq: a stream has fewer than 2**63 records")


def _check_ask(ask: Ask) -> None:
    check_name(ask.name)


_MEANINGS: dict[Any, Callable[[Any], None]] = {
    Hello: _check_hello,
    Batch: _check_batch,
    Heartbeat: _check_heartbeat,
    Finish: _check_dropped,
    Ask: _check_ask,
    AddBackend: _check_run,
}


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < SEQ_END


def _is_step(value: object) -> bool:
    return type(value) is int and -SEQ_END <= value < SEQ_END


def _is_map(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(key, str) for key in value)


_CHECKS: dict[str, Callable[[Any], bool]] = {
    "int": _is_count,
    "Step": _is_step,
    "Step | None": lambda value: value is None or _is_step(value),
    "float | None": lambda value: value is None or type(value) is float,
    "str": lambda value: isinstance(value, str),
    "bool": lambda value: isinstance(value, bool),
    "tuple[int, ...]": lambda value: isinstance(value, (list, tuple)) and all(map(_is_count, value)),
    "Mapping[str, int]": lambda value: _is_map(value) and all(map(_is_count, value.values())),
    "Mapping[str, Any]": _is_map,
    "Mapping[str, Any] | None": lambda value: value is None or _is_map(value),
}
