"""Target: what a dead rank leaves, which the daemon reads: its ring, its spool's segments and counts, its outbox."""

from __future__ import annotations

import struct
from collections.abc import Callable

from asynclog_proto import frames, outboxfile, records, ringfile, spoolfile
from asynclog_proto.errors import ProtocolError
from asynclog_proto.media import Place
from tests.fuzz.pieces import join, split

RING, SPOOL, COUNTS, OUTBOX = range(4)
_NUMBERS = struct.Struct("=QQQQQQQ")
"""capacity, head, which tail, and the two tails with their sequence numbers"""


def run(data: bytes) -> None:
    """The first byte of `data` says which file the rest is."""
    if data:
        _READERS[data[0] % len(_READERS)](data[1:])


def ring_pieces(file: bytes) -> bytes:
    """A ring's file as `run` takes it: a header is 16 KiB, nearly all of it nothing."""
    state = ringfile.read_state(memoryview(file))
    return bytes([RING]) + join([file[8:64], state.hello]) + file[ringfile.HEADER :]


def _ring(data: bytes) -> None:
    pieces = split(data, 2)
    numbers, hello = (*pieces, b"", b"")[:2]
    body = data[len(join(pieces)) :]
    header = bytearray(ringfile.header(len(body), hello[: ringfile.MAX_HELLO]))
    header[8 : 8 + min(len(numbers), _NUMBERS.size)] = numbers[: _NUMBERS.size]
    file = memoryview(bytes(header) + body)
    try:
        state = ringfile.read_state(file)
    except ProtocolError:
        return
    assert state.hello == hello[: ringfile.MAX_HELLO]
    size = 0
    try:
        for record in ringfile.read_records(file, state):
            size += len(record)
            assert records.record_end(record, 0) == len(record)
    except ProtocolError:
        pass
    assert size <= state.head - state.tail <= len(body), "more records than bytes"


def _spool(data: bytes) -> None:
    file = memoryview(data)
    try:
        hello = spoolfile.read_hello(file)
    except ProtocolError:
        hello = b""
    _decode(hello)
    batches = list(spoolfile.read_batches(file))
    assert sum(len(batch.payload) for batch in batches) <= len(data)
    written = spoolfile.start(hello)
    for batch in batches:
        written += spoolfile.entry(batch.first_seq, batch.count, batch.payload)
    assert list(spoolfile.read_batches(memoryview(written))) == batches


def _counts(data: bytes) -> None:
    try:
        finish = spoolfile.read_counts(memoryview(data))
    except ProtocolError:
        return
    assert spoolfile.read_counts(memoryview(spoolfile.counts(finish))) == finish
    _decode(finish)


def _outbox(data: bytes) -> None:
    offset, size = struct.unpack(">QI", data[:12].ljust(12, b"\0"))
    try:
        capacity = outboxfile.capacity_of(data[12:])
        at = outboxfile.at(Place(0, offset, size), capacity)
    except ProtocolError:
        return
    assert outboxfile.HEADER <= at <= at + size <= outboxfile.HEADER + capacity


def _decode(frame: bytes) -> None:
    try:
        frames.decode([frame])
    except ProtocolError:
        return


_READERS: tuple[Callable[[bytes], None], ...] = (_ring, _spool, _counts, _outbox)
