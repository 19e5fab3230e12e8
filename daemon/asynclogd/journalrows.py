"""The tables of a journal, and what their rows hold: key, body and a checksum over both. See docs/journal.md."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Any

import google_crc32c

from asynclog_proto import wire
from asynclog_proto.errors import ProtocolError
from asynclogd.entries import Cause, Cursor, DeadLetter, Input, Stream

FORMAT = 1
"""PRAGMA user_version: goes up when a reader of the former format would misread the new one."""

APPLICATION_ID = 0x414C4A31
"""PRAGMA application_id, "ALJ1": tells `file` and us what this database is."""

TABLES = (
    "CREATE TABLE names (id INTEGER PRIMARY KEY, name TEXT NOT NULL)",
    "CREATE TABLE layouts (id INTEGER PRIMARY KEY, series BLOB NOT NULL, crc INTEGER NOT NULL)",
    """CREATE TABLE inputs (id INTEGER PRIMARY KEY, cause INTEGER NOT NULL, stream INTEGER NOT NULL,
    first_seq INTEGER NOT NULL, count INTEGER NOT NULL, now REAL NOT NULL, payload BLOB NOT NULL,
    crc INTEGER NOT NULL)""",
    "CREATE TABLE items (id INTEGER PRIMARY KEY, body BLOB NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE streams (id INTEGER PRIMARY KEY, body BLOB NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE cursors (id TEXT PRIMARY KEY, body BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE facts (id TEXT PRIMARY KEY, body BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
    "CREATE TABLE snapshot (id INTEGER PRIMARY KEY, body BLOB NOT NULL, crc INTEGER NOT NULL)",
    "CREATE TABLE dead_letters (id TEXT PRIMARY KEY, body BLOB NOT NULL, crc INTEGER NOT NULL) WITHOUT ROWID",
)

INSERT_INPUT = "INSERT INTO inputs VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_ITEM = "INSERT INTO items VALUES (?, ?, ?)"
PUT = {
    table: f"INSERT OR REPLACE INTO {table} VALUES (?, ?, ?)"  # noqa: S608 - a fixed set of names
    for table in ("streams", "cursors", "facts", "snapshot", "dead_letters")
}

_INPUT = struct.Struct("<qqqqqd")
_KEY = struct.Struct("<q")


def checksum(key: int | str, body: bytes) -> int:
    """CRC-32C over a row's key and its body."""
    head = _KEY.pack(key) if isinstance(key, int) else key.encode()
    return int(google_crc32c.extend(google_crc32c.value(head), body))


def row(key: int | str, body: bytes) -> tuple[int | str, bytes, int]:
    """A row (key, body, crc)."""
    return key, body, checksum(key, body)


def check(key: Any, body: Any, crc: Any) -> bytes:
    """The body of a row as it was written. Raises ProtocolError when it is not that any more."""
    if not isinstance(key, (int, str)) or not isinstance(body, bytes) or checksum(key, body) != crc:
        raise ProtocolError(f"the checksum of row {key!r} is wrong")
    return body


def input_row(number: int, entry: Input) -> tuple[int, int, int, int, int, float, bytes, int]:
    """The row of an input."""
    head = _INPUT.pack(number, entry.cause, entry.stream, entry.first_seq, entry.count, entry.now)
    crc = google_crc32c.extend(google_crc32c.value(head), entry.payload)
    return number, entry.cause, entry.stream, entry.first_seq, entry.count, entry.now, entry.payload, crc


def read_input(fields: tuple[Any, ...]) -> tuple[int, Input]:
    """The input of a row. Raises ProtocolError."""
    number, cause, stream, first_seq, count, now, payload, crc = fields
    try:
        entry = Input(Cause(cause), stream, first_seq, count, payload, now)
        written = input_row(number, entry)
    except (ValueError, TypeError, struct.error) as error:
        raise ProtocolError(f"input {number} is malformed: {error}") from error
    if written[-1] != crc:
        raise ProtocolError(f"the checksum of input {number} is wrong")
    return number, entry


def pack_stream(stream: Stream) -> bytes:
    """A stream but for its id, fields in the order of `Stream`."""
    return wire.pack([getattr(stream, name) for name in _STREAM_FIELDS])


def read_stream(number: int, body: bytes) -> Stream:
    """The stream of a row. Raises ProtocolError."""
    return Stream(number, *_fields(body, len(_STREAM_FIELDS), _FIRST_STREAM_FIELDS))


_STREAM_FIELDS = (
    "rank", "world_size", "incarnation", "launch", "host", "pid", "ring", "spool",
    "next_seq", "state", "issued", "dropped", "lost", "outbox", "began", "afar",
)  # fmt: skip
_FIRST_STREAM_FIELDS = 13
"""Journals from before there were media have no outbox in their rows; later fields are missing in those before them."""


def pack_cursor(cursor: Cursor) -> bytes:
    """A cursor, fields in the order of `Cursor`."""
    return wire.pack([_plain(getattr(cursor, name)) for name in _CURSOR_FIELDS])


def read_cursor(body: bytes) -> Cursor:
    """The cursor of a row. Raises ProtocolError."""
    return Cursor(*_fields(body, len(_CURSOR_FIELDS)))


_CURSOR_FIELDS = ("offset", "position", "limiter", "delivered", "limited", "dead", "points")


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else value


def unpack(body: bytes) -> Any:
    """MessagePack that we wrote ourselves, whatever its size."""
    return wire.unpack(body, max_bytes=len(body), max_elements=2 * len(body))


def _fields(body: bytes, count: int, fewest: int | None = None) -> list[Any]:
    fields = unpack(body)
    if not isinstance(fields, list) or not (count if fewest is None else fewest) <= len(fields) <= count:
        raise ProtocolError(f"a row has {count} fields")
    return fields


def pack(value: object) -> bytes:
    """MessagePack of a fact."""
    return wire.pack(value)


def dead_letter_row(letter: DeadLetter) -> tuple[int | str, bytes, int]:
    """The row of a dead letter; the same one journaled twice is one."""
    body = wire.pack([letter.backend, letter.offset, letter.reason])
    return row(f"{letter.backend}/{letter.offset}/{google_crc32c.value(body):08x}", body)


def read_dead_letter(body: bytes) -> DeadLetter:
    """The dead letter of a row. Raises ProtocolError."""
    letter = DeadLetter(*_fields(body, 3))
    if type(letter.backend) is not str or type(letter.offset) is not int:
        raise ProtocolError("a dead letter has a backend's name and an offset")
    return letter
