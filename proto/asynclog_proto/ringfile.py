"""The ring's format: a file that the client writes and the daemon reads when the client is dead.

    offset  type      what
    0       8 bytes   MAGIC
    8       u64       capacity of the data in bytes
    16      u64       head: position after the last whole record
    24      u64       which of the two tails is valid, 0 or 1
    32, 48  u64, u64  tail 0 and tail 1: position and sequence number of the oldest record still held
    64      u64       logged values that were issued (see DROPS)
    72..    u64 * 8   logged values dropped, by cause, in the order of DROPS
    256     u32       length of the hello message that follows (MessagePack, frames.Hello)
    HEADER  bytes     the data

Native byte order: the reader is on the same machine, and reads a copy (a mapped file that its owner truncates
kills the reader). A position counts bytes since the stream began, padding
included; its place is `position % capacity`. A record never wraps: where it does not fit before the end, a PAD
byte says that the lap is over (when the lap ends exactly, there is none), and the record begins the next lap.

Why SIGKILL can't tear it: a record's bytes are written first, then `head` by one aligned 8-byte store. The tail is
written to the slot that is not valid, then the selector flips by one store. What a process has stored is in
the page cache, whatever becomes of the process.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from asynclog_proto.errors import ProtocolError, check_magic
from asynclog_proto.frozen import frozen
from asynclog_proto.limits import SEQ_END
from asynclog_proto.records import PAD, record_end

MAGIC = b"asynclr1"
HEADER = 16384
HEAD, SELECTOR, TAILS, ISSUED, DROPPED, HELLO = 16, 24, (32, 48), 64, 72, 256
MAX_HELLO = HEADER - HELLO - 4

DROPS = ("bad_value", "bad_name", "ring_full", "after_finish", "device", "after_fork", "media_full")
"""Why a value may never become a record; each has its counter in the header."""

_U64 = struct.Struct("=Q")
_PAIR = struct.Struct("=QQ")


@frozen
class RingState:
    """What a ring's header says."""

    capacity: int
    head: int
    tail: int
    tail_seq: int
    issued: int
    dropped: dict[str, int]
    hello: bytes


def header(capacity: int, hello: bytes) -> bytes:
    """The first HEADER bytes of a fresh ring. `hello` is at most MAX_HELLO bytes."""
    if len(hello) > MAX_HELLO:
        raise ProtocolError(f"a hello of {len(hello)} bytes; a ring takes {MAX_HELLO}")
    start = MAGIC + _U64.pack(capacity)
    return start.ljust(HELLO, b"\0") + struct.pack("=I", len(hello)) + hello.ljust(MAX_HELLO, b"\0")


def read_state(data: memoryview) -> RingState:
    """The header of a ring file. Raises ProtocolError when it is not one."""
    check_magic(bytes(data[: len(MAGIC)]), MAGIC, "a ring file")
    if len(data) < HEADER:
        raise ProtocolError("a ring file that is cut short")
    capacity, head = _U64.unpack_from(data, 8)[0], _U64.unpack_from(data, HEAD)[0]
    tail, tail_seq = _PAIR.unpack_from(data, TAILS[_U64.unpack_from(data, SELECTOR)[0] & 1])
    length = struct.unpack_from("=I", data, HELLO)[0]
    sized = len(data) == HEADER + capacity and 0 <= head - tail <= capacity
    if not sized or tail_seq >= SEQ_END or length > MAX_HELLO:
        raise ProtocolError("a ring file whose header does not fit its size")
    counts = struct.unpack_from(f"={len(DROPS)}Q", data, DROPPED)
    return RingState(
        capacity=capacity,
        head=head,
        tail=tail,
        tail_seq=tail_seq,
        issued=_U64.unpack_from(data, ISSUED)[0],
        dropped=dict(zip(DROPS, counts, strict=True)),
        hello=bytes(data[HELLO + 4 : HELLO + 4 + length]),
    )


def read_records(data: memoryview, state: RingState) -> Iterator[memoryview]:
    """Yield every record from the tail to the head, in order of sequence number from `state.tail_seq`.

    Raises ProtocolError where what stands there is no record; those yielded before it count.
    """
    at = state.tail
    while at < state.head:
        place = HEADER + at % state.capacity
        lap_end = min(HEADER + state.capacity, place + state.head - at)
        if data[place] == PAD:
            at += state.capacity - at % state.capacity
            if at > state.head:
                raise ProtocolError("a ring's padding goes on beyond its head")
            continue
        end = place + record_end(data[place:lap_end], 0)
        yield data[place:end]
        at += end - place
