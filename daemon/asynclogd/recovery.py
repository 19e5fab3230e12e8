"""Reading what a dead client left: its ring in memory and its spool on disk."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from asynclog_proto import frames, ringfile, spoolfile
from asynclog_proto.errors import ProtocolError

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
    batches = list(_grouped(ringfile.read_records(data, state), state.tail_seq))
    return Left(_hello(state.hello), batches, state.issued, state.dropped)


def read_spool(directory: Path) -> Iterator[Left]:
    """Each segment of a stream's spool, oldest first; unreadable ones are passed over."""
    for segment in sorted(directory.glob(f"*{spoolfile.SUFFIX}")):
        data = memoryview(segment.read_bytes())
        try:
            hello = _hello(spoolfile.read_hello(data))
        except ProtocolError:
            continue
        batches = [LeftBatch(b.first_seq, b.count, bytes(b.payload)) for b in spoolfile.read_batches(data)]
        yield Left(hello, batches)


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


def _hello(data: bytes) -> frames.Hello:
    message, _ = frames.decode([data])
    if not isinstance(message, frames.Hello):
        raise ProtocolError(f"a hello was expected, not {type(message).__name__}")
    return message


def _grouped(records: Iterator[memoryview], seq: int) -> Iterator[LeftBatch]:
    group: list[bytes] = []
    size = 0
    for record in records:
        group.append(bytes(record))
        size += len(record)
        if size >= BATCH_BYTES:
            yield LeftBatch(seq, len(group), b"".join(group))
            seq, group, size = seq + len(group), [], 0
    if group:
        yield LeftBatch(seq, len(group), b"".join(group))
