"""Reading what a dead client left: its ring in memory and its spool on disk."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asynclog_proto import frames, ringfile, spoolfile
from asynclog_proto.errors import ProtocolError

log = logging.getLogger(__name__)

BATCH_BYTES = 256 << 10


@dataclass(frozen=True, slots=True)
class LeftBatch:
    """Records that a client had not got acked."""

    first_seq: int
    count: int
    payload: bytes


@dataclass(frozen=True, slots=True)
class Left:
    """What a stream left behind, oldest first, and its own counts where a ring told them."""

    hello: frames.Hello
    batches: list[LeftBatch]
    issued: int = 0
    dropped: dict[str, int] | None = None


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


def read_ring(path: Path) -> Left | None:
    """The content of a dead client's ring; None when it is gone. Raises ProtocolError when it is not a ring."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        data = memoryview(file.read())
    state = ringfile.read_state(data)
    return Left(_hello(state.hello), _batches(data, state), state.issued, state.dropped)


def read_spool(directory: Path) -> Iterator[Left]:
    """Each segment of a stream's spool, oldest first. One without a readable hello borrows another's."""
    segments = [memoryview(path.read_bytes()) for path in sorted(directory.glob(f"*{spoolfile.SUFFIX}"))]
    hello = next(filter(None, map(_spooled_hello, segments)), None)
    if hello is None:
        if segments:
            log.error("%s: no segment tells whose it is", directory)
        return
    for data in segments:
        batches = [LeftBatch(b.first_seq, b.count, bytes(b.payload)) for b in spoolfile.read_batches(data)]
        yield Left(_spooled_hello(data) or hello, batches)


def remove(ring: Path | None, spool: Path | None) -> None:
    """Everything in them is journaled: away with them."""
    if ring is not None:
        ring.unlink(missing_ok=True)
    if spool is None or not spool.is_dir():
        return
    for segment in spool.glob(f"*{spoolfile.SUFFIX}"):
        segment.unlink(missing_ok=True)
    for directory in (spool, spool.parent):
        try:
            directory.rmdir()
        except OSError:
            return


def _spooled_hello(segment: memoryview) -> frames.Hello | None:
    try:
        return _hello(spoolfile.read_hello(segment))
    except ProtocolError:
        return None


def _hello(data: bytes) -> frames.Hello:
    message, _ = frames.decode([data])
    if not isinstance(message, frames.Hello):
        raise ProtocolError(f"a hello was expected, not {type(message).__name__}")
    return message


def _batches(data: memoryview, state: ringfile.RingState) -> list[LeftBatch]:
    """A ring's records in batches. A spoiled record ends them: what is before it counts."""
    batches: list[LeftBatch] = []
    seq, group, size = state.tail_seq, [], 0
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
