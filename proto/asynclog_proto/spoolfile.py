"""The spool's format: segments on disk, each a hello and then batches, for a daemon to read later.

    segment  MAGIC, entry(hello), entry(batch), ...
    entry    mark (4 bytes), u32 length of the body, u32 crc32 of the body, u32 crc32 of these 12 bytes, body
    hello    its mark is HELLO_MARK; the body is a header frame that holds frames.Hello
    batch    its mark is BATCH_MARK; the body is u64 first_seq, u32 count, records end to end

Beside the segments a client that ended leaves the file COUNTS: MAGIC and one entry, marked COUNTS_MARK, whose body is a
header frame that holds frames.Finish, what the client counted.

Integers are big-endian. A segment may end in the middle of an entry (its writer was killed): all before counts,
and nothing is ever appended behind it. An entry whose body is spoiled is skipped by its length; where a head
is spoiled, the reader goes on at the next mark whose head is whole. Sequence numbers tell what was lost.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

from asynclog_proto.errors import ProtocolError, check_magic
from asynclog_proto.frozen import frozen
from asynclog_proto.limits import MAX_BATCH_BYTES, MAX_BATCH_RECORDS, MAX_HEADER_BYTES, SEQ_END

if TYPE_CHECKING:
    from collections.abc import Iterator

MAGIC = b"asyncls1"
SUFFIX = ".spool"
COUNTS = "counts"
HELLO_MARK, BATCH_MARK, COUNTS_MARK = b"\xa5\x5aHi", b"\xa5\x5aBa", b"\xa5\x5aCo"
_SYNC = b"\xa5\x5a"
_HEAD = struct.Struct(">4sII")
_CRC = struct.Struct(">I")
_BATCH = struct.Struct(">QI")
_HEAD_SIZE = _HEAD.size + _CRC.size
ENTRY_OVERHEAD = _HEAD_SIZE + _BATCH.size

_LONGEST = {
    HELLO_MARK: MAX_HEADER_BYTES,
    BATCH_MARK: MAX_BATCH_BYTES + _BATCH.size,
    COUNTS_MARK: MAX_HEADER_BYTES,
}
_WINDOW = 64 << 10


@frozen
class SpooledBatch:
    """Records `first_seq` and on, `count` of them, end to end in `payload`."""

    first_seq: int
    count: int
    payload: memoryview


def start(hello: bytes) -> bytes:
    """The bytes that begin a segment."""
    return MAGIC + _entry(HELLO_MARK, hello)


def entry(first_seq: int, count: int, payload: bytes | memoryview) -> bytes:
    """The bytes that append a batch; its payload begins ENTRY_OVERHEAD bytes in."""
    return _entry(BATCH_MARK, _BATCH.pack(first_seq, count) + bytes(payload))


def counts(finish: bytes) -> bytes:
    """The bytes of the file COUNTS."""
    return MAGIC + _entry(COUNTS_MARK, finish)


def read_counts(data: memoryview) -> bytes:
    """The Finish of the file COUNTS. Raises ProtocolError when it is none, or is spoiled."""
    if bytes(data[: len(MAGIC)]) == MAGIC:
        for mark, body in _entries(data, len(MAGIC)):
            if mark == COUNTS_MARK:
                return bytes(body)
    raise ProtocolError("not a spool's counts, or spoiled")


def read_hello(data: memoryview) -> bytes:
    """The hello of a segment. Raises ProtocolError when the file is not a segment, or its hello is spoiled.

    The other segments of the same directory have the same stream's hello.
    """
    check_magic(bytes(data[: len(MAGIC)]), MAGIC, "a spool segment")
    for mark, body in _entries(data, len(MAGIC)):
        if mark == HELLO_MARK:
            return bytes(body)
    raise ProtocolError("a spool segment without its hello")


def read_batches(data: memoryview) -> Iterator[SpooledBatch]:
    """Yield the whole, unspoiled batches of a segment, in order."""
    for mark, body in _entries(data, len(MAGIC)):
        if mark != BATCH_MARK or len(body) <= _BATCH.size:
            continue
        first_seq, count = _BATCH.unpack_from(body)
        if 0 < count <= MAX_BATCH_RECORDS and first_seq + count < SEQ_END:
            yield SpooledBatch(first_seq, count, body[_BATCH.size :])


def _entry(mark: bytes, body: bytes) -> bytes:
    head = _HEAD.pack(mark, len(body), zlib.crc32(body))
    return head + _CRC.pack(zlib.crc32(head)) + body


def _entries(data: memoryview, at: int) -> Iterator[tuple[bytes, memoryview]]:
    """Yield (mark, body) of each whole, unspoiled entry. Each byte is looked at a bounded number of times."""
    while at + _HEAD_SIZE <= len(data):
        mark, length, crc = _HEAD.unpack_from(data, at)
        head_crc = _CRC.unpack_from(data, at + _HEAD.size)[0]
        if zlib.crc32(data[at : at + _HEAD.size]) != head_crc or length > _LONGEST.get(mark, -1):
            at = _next_mark(data, at + 1)
            continue
        body = data[at + _HEAD_SIZE : at + _HEAD_SIZE + length]
        at += _HEAD_SIZE + length
        if len(body) == length and zlib.crc32(body) == crc:
            yield mark, body


def _next_mark(data: memoryview, at: int) -> int:
    """Where the next mark may be: `at` or after it; the data's end when there is none."""
    while at < len(data):
        found = bytes(data[at : at + _WINDOW]).find(_SYNC)
        if found >= 0:
            return at + found
        at += _WINDOW - 1
    return len(data)
