"""The outbox: a mapped file in which a rank lays the bodies of its media for the daemon to read.

    0   4   magic "ALOB"        8   8   capacity, little-endian
    4   4   version, 1, LE      64  capacity bytes

Positions count over all laps: the byte at position p is at HEADER + p % capacity, and a body never crosses a lap's
end. The rank writes behind everything that is not freed; an Ack's `media` says up to where the daemon needs nothing
any more. The record that names a place is what makes it valid: nothing else in the file says what is written.
"""

from __future__ import annotations

import struct

from asynclog_proto.errors import ProtocolError
from asynclog_proto.media import Place

MAGIC, VERSION = b"ALOB", 1
HEADER = 64
_HEAD = struct.Struct("<4sIQ")


def header(capacity: int) -> bytes:
    """The first HEADER bytes of an outbox of `capacity` bytes."""
    return _HEAD.pack(MAGIC, VERSION, capacity).ljust(HEADER, b"\0")


def capacity_of(head: bytes) -> int:
    """The capacity. Raises ProtocolError for what is no outbox."""
    if len(head) < _HEAD.size:
        raise ProtocolError("an outbox is cut short")
    magic, version, capacity = _HEAD.unpack_from(head)
    if magic != MAGIC or version != VERSION or not 0 < capacity < 1 << 48:
        raise ProtocolError("not an outbox of version 1")
    return int(capacity)


def at(place: Place, capacity: int) -> int:
    """Where in the file a body begins. Raises ProtocolError for a place that no body can have."""
    begin = place.offset % capacity
    if begin + place.size > capacity:
        raise ProtocolError(f"a body of {place.size} bytes at {place.offset} crosses the outbox's end")
    return HEADER + begin


def fit(tail: int, head: int, size: int, capacity: int) -> int | None:
    """The position for a body of `size` bytes when [tail, head) is in use; None when there is no room."""
    begin = head
    if begin % capacity + size > capacity:
        begin += capacity - begin % capacity
    return begin if begin + size - tail <= capacity else None
