"""The spool's format: segments on disk, each a hello and then batches, for a daemon to read later.

    segment  MAGIC, entry(hello), entry(batch), ...
    entry    u32 length of the body, u32 crc32 of the body, body           (big-endian)
    hello    the body is a header frame that holds frames.Hello
    batch    the body is u64 first_seq, u32 count, records end to end

A segment may end in the middle of an entry (its writer was killed): everything before counts. An entry whose
checksum is wrong is skipped, and the sequence numbers tell what was lost.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from asynclog_proto.errors import ProtocolError
from asynclog_proto.limits import MAX_BATCH_BYTES

MAGIC = b"asyncls1"
SUFFIX = ".spool"
_ENTRY = struct.Struct(">II")
_BATCH = struct.Struct(">QI")
ENTRY_OVERHEAD = _ENTRY.size + _BATCH.size


@dataclass(frozen=True, slots=True)
class SpooledBatch:
    """Records `first_seq` and on, `count` of them, end to end in `payload`."""

    first_seq: int
    count: int
    payload: memoryview


def start(hello: bytes) -> bytes:
    """The bytes that begin a segment."""
    return MAGIC + _entry(hello)


def entry(first_seq: int, count: int, payload: bytes | memoryview) -> bytes:
    """The bytes that append a batch; its payload begins ENTRY_OVERHEAD bytes in."""
    return _entry(_BATCH.pack(first_seq, count) + bytes(payload))


def read_hello(data: memoryview) -> bytes:
    """The hello of a segment. Raises ProtocolError when the file is not a segment or too short to tell."""
    if bytes(data[: len(MAGIC)]) != MAGIC:
        raise ProtocolError("not a spool segment")
    for body in _bodies(data, len(MAGIC)):
        return bytes(body)
    raise ProtocolError("a spool segment without its hello")


def read_batches(data: memoryview) -> Iterator[SpooledBatch]:
    """Yield the whole batches of a segment, in order."""
    bodies = _bodies(data, len(MAGIC))
    next(bodies, None)
    for body in bodies:
        first_seq, count = _BATCH.unpack_from(body)
        yield SpooledBatch(first_seq, count, body[_BATCH.size :])


def _entry(body: bytes) -> bytes:
    return _ENTRY.pack(len(body), zlib.crc32(body)) + body


def _bodies(data: memoryview, at: int) -> Iterator[memoryview]:
    while at + _ENTRY.size <= len(data):
        length, crc = _ENTRY.unpack_from(data, at)
        at += _ENTRY.size
        if length > MAX_BATCH_BYTES + _BATCH.size or at + length > len(data):
            return
        body = data[at : at + length]
        at += length
        if zlib.crc32(body) == crc:
            yield body
