"""Reading what dead clients left: their rings in memory and their spools on disk."""

from __future__ import annotations

import fcntl
import heapq
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from asynclog_proto import frames, records, ringfile, spoolfile
from asynclog_proto.errors import ProtocolError

log = logging.getLogger(__name__)

BATCH_BYTES = 256 << 10

Key = TypeVar("Key")


@dataclass(frozen=True, slots=True)
class LeftBatch:
    """Records that a client had not got acked."""

    first_seq: int
    count: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class LeftRing:
    """A dead client's ring: who it was, its records, and its own counts of logged values."""

    hello: frames.Hello
    batches: list[LeftBatch] = field(default_factory=list)
    issued: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)


def owner_is_dead(ring: Path) -> bool:
    """Whether no process holds the ring's lock. A ring that does not exist has no owner."""
    try:
        fd = os.open(ring, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return True
    except OSError:
        return False
    try:
        fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    finally:
        os.close(fd)
    return True


def read_ring(path: Path) -> LeftRing | None:
    """The content of a ring; None when it is gone. Raises ProtocolError when it is not a ring."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        data = memoryview(file.read())
    state = ringfile.read_state(data)
    return LeftRing(_hello(state.hello), _ring_batches(data, state), state.issued, state.dropped)


def spool_hello(directory: Path) -> frames.Hello | None:
    """Whose spool it is: by the first segment that tells."""
    for segment in _segments(directory):
        try:
            return _hello(spoolfile.read_hello(memoryview(segment.read_bytes())))
        except ProtocolError as error:
            log.error("%s does not tell whose it is: %s", segment, error)
    return None


def spool_batches(directory: Path) -> Iterator[LeftBatch]:
    """The batches of a stream's spool, oldest first, a segment in memory at a time."""
    for segment in _segments(directory):
        for batch in spoolfile.read_batches(memoryview(segment.read_bytes())):
            yield LeftBatch(batch.first_seq, batch.count, bytes(batch.payload))


def by_time(streams: Mapping[Key, Iterator[LeftBatch]]) -> Iterator[tuple[Key, LeftBatch]]:
    """The batches of several streams, each stream's in order, the streams beside each other as they were logged.

    One stream after the other would run far ahead of the rest, and its steps would close without them.
    """
    timed = [_timed(number, key, batches) for number, (key, batches) in enumerate(streams.items())]
    for _, _, key, batch in heapq.merge(*timed, key=lambda entry: entry[:2]):
        yield key, batch


def remove(ring: Path | None, spool: Path | None) -> None:
    """Everything in them is journaled: away with them."""
    if ring is not None:
        ring.unlink(missing_ok=True)
    if spool is None or not spool.is_dir():
        return
    for segment in _segments(spool):
        segment.unlink(missing_ok=True)
    for directory in (spool, spool.parent):
        try:
            directory.rmdir()
        except OSError:
            return


def _segments(directory: Path) -> list[Path]:
    return sorted(directory.glob(f"*{spoolfile.SUFFIX}"))


def _hello(data: bytes) -> frames.Hello:
    message, _ = frames.decode([data])
    if not isinstance(message, frames.Hello):
        raise ProtocolError(f"a hello was expected, not {type(message).__name__}")
    return message


def _timed(number: int, key: Key, batches: Iterator[LeftBatch]) -> Iterator[tuple[float, int, Key, LeftBatch]]:
    time = 0.0
    for batch in batches:
        time = max(time, _first_time(batch.payload))
        yield time, number, key, batch


def _first_time(payload: bytes) -> float:
    """When the first row of a batch was logged, s since the epoch; 0 when it holds none."""
    try:
        for start, end in records.iterate(payload):
            record = records.decode(payload[start:end])
            if isinstance(record, records.Row):
                return record.time
    except ProtocolError:
        pass  # whoever takes the batch will say so
    return 0.0


def _ring_batches(data: memoryview, state: ringfile.RingState) -> list[LeftBatch]:
    """A ring's records in batches. A spoiled record ends them: what is before it counts."""
    batches: list[LeftBatch] = []
    seq, size = state.tail_seq, 0
    group: list[bytes] = []
    try:
        for record in ringfile.read_records(data, state):
            group.append(bytes(record))
            size += len(record)
            if size >= BATCH_BYTES:
                batches.append(LeftBatch(seq, len(group), b"".join(group)))
                seq, group, size = seq + len(group), [], 0
    except ProtocolError as error:
        log.error("a ring is spoiled after record %d: %s", seq + len(group), error)
    if group:
        batches.append(LeftBatch(seq, len(group), b"".join(group)))
    return batches
