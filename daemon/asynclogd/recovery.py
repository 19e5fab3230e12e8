"""Reading what dead clients left: their rings in memory and their spools on disk."""

from __future__ import annotations

import contextlib
import heapq
import logging
import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import TypeVar

from asynclog_proto import frames, places, records, ringfile, spoolfile
from asynclog_proto.errors import ProtocolError, VersionError, check_magic
from asynclogd.incidents import about

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


def read_ring(path: Path) -> LeftRing | None:
    """The content of a ring; None when it is gone. Raises ProtocolError when it is not a ring."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return None
    with os.fdopen(fd, "rb") as file:
        data = memoryview(file.read())
        owner = os.fstat(fd).st_uid
    state = ringfile.read_state(data)
    return LeftRing(_hello(state.hello, owner), _ring_batches(data, state), state.issued, state.dropped)


def spool_hello(directory: Path) -> frames.Hello | None:
    """Whose spool it is: by the first segment that tells."""
    for segment in segments(directory):
        try:
            return _hello(spoolfile.read_hello(memoryview(segment.read_bytes())), segment.stat().st_uid)
        except ProtocolError as error:
            told = about("spool-unreadable", cause=error)
            log.error("%s does not tell whose it is: %s", segment, error, extra=told)
    return None


def spool_batches(directory: Path) -> Iterator[LeftBatch]:
    """The batches of a stream's spool, oldest first, a segment in memory at a time."""
    for segment in segments(directory):
        for batch in spoolfile.read_batches(memoryview(segment.read_bytes())):
            yield LeftBatch(batch.first_seq, batch.count, bytes(batch.payload))


def spool_counts(directory: Path) -> frames.Finish | None:
    """What a client that ended has counted; None when it left no such file, or one that can't be read."""
    path = directory / spoolfile.COUNTS
    try:
        message, _ = frames.decode([spoolfile.read_counts(memoryview(path.read_bytes()))])
    except FileNotFoundError:
        return None
    except (ProtocolError, OSError) as error:
        log.error("%s can't be read: %s", path, error, extra=about("spool-unreadable", cause=error))
        return None
    return message if isinstance(message, frames.Finish) else None


def by_step(streams: Mapping[Key, Iterator[LeftBatch]]) -> Iterator[tuple[Key, LeftBatch]]:
    """The batches of several ranks of one launch, each rank's in order, the ranks beside each other by their steps.

    One rank after the other would run far ahead of the rest, and its steps would close without them.
    """
    placed = [_by_steps(number, key, batches) for number, (key, batches) in enumerate(streams.items())]
    for _, _, key, batch in heapq.merge(*placed, key=lambda entry: entry[:2]):
        yield key, batch


def began(ring: Path | None, spool: Path | None) -> float:
    """When the first row that a dead stream left was logged, s since the epoch. Without rows it is some moment of its
    life, when its ring or spool was written; endless when it left nothing.
    """
    left = read_ring(ring) if ring is not None else None
    batches = chain(spool_batches(spool) if spool is not None else (), left.batches if left is not None else ())
    rows = (row for row in map(_first_row, batches) if row is not None)
    return next((row.time for row in rows), _written(ring, spool))


def _written(ring: Path | None, spool: Path | None) -> float:
    found = [*([ring] if ring is not None else []), *(segments(spool) if spool is not None else [])]
    return min((path.stat().st_mtime for path in found if path.exists()), default=math.inf)


def is_left(ring: Path | None, spool: Path | None) -> bool:
    """Whether a ring or segments of a spool are there."""
    return (ring is not None and ring.exists()) or (spool is not None and bool(segments(spool)))


def is_of_another_version(spool: Path) -> bool:
    """Whether a spool has segments in a format that this version does not read."""
    for segment in segments(spool):
        with segment.open("rb") as file:
            begins = file.read(len(spoolfile.MAGIC))
        try:
            check_magic(begins, spoolfile.MAGIC, "a spool segment")
        except VersionError as error:
            log.error("%s can't be read: %s", segment, error, extra=about("spool-unreadable", cause=error))
            return True
        except ProtocolError:
            continue  # spoiled: what can be read of it has been
    return False


def remove(ring: Path | None, spool: Path | None) -> None:
    """Everything in them is journaled: away with them."""
    if ring is not None:
        ring.unlink(missing_ok=True)
    if spool is None or not spool.is_dir():
        return
    for segment in [spool / spoolfile.COUNTS, (spool / spoolfile.COUNTS).with_suffix(".part"), *segments(spool)]:
        segment.unlink(missing_ok=True)
    for directory in (spool, spool.parent):
        try:
            directory.rmdir()
        except OSError:
            return


def remove_media(outbox: str, spool: Path | None) -> None:
    """All media of a stream that is over are encoded: away with the bodies."""
    bodies = [Path(outbox)] if outbox else []
    if spool is not None:
        left, dropped = places.spooled_outbox_path(spool), places.media_dropped_path(spool)
        bodies += [left, left.with_suffix(".part"), dropped, *media_files(spool)]
        bodies.append(dropped.with_name(dropped.name + ".part"))
    _unlink(bodies)
    for directory in (spool, spool.parent) if spool is not None else ():
        with contextlib.suppress(OSError):
            directory.rmdir()


def remove_media_before(spool: Path | None, number: int) -> None:
    """Away with the files of media bodies whose numbers are lower."""
    if spool is not None:
        _unlink(path for path in media_files(spool) if _number(path) < number)


def _number(path: Path) -> int:
    text = path.stem.removeprefix("media-")
    return int(text) if text.isdecimal() else sys.maxsize


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):  # what can't be removed stays, and does no harm
            path.unlink()


def media_files(spool: Path) -> list[Path]:
    """A spool's files of media bodies."""
    try:
        return [path for path in _within(spool) if path.name.startswith("media-") and path.suffix == ".seg"]
    except OSError:
        return []


def segments(directory: Path) -> list[Path]:
    """The segments of a spool, oldest first. Raises OSError."""
    return [path for path in _within(directory) if path.name.endswith(spoolfile.SUFFIX)]


def spools(run_dir: Path) -> list[Path]:
    """The directories of a run's spools. Raises OSError."""
    return [path for path in _within(run_dir / "spool") if path.is_dir()]


def _within(directory: Path) -> list[Path]:
    """What a directory holds, sorted; nothing when it has gone. Raises OSError: what Path.glob can't list it takes for
    empty, since Python 3.13, and what seems to hold nothing is removed.
    """
    try:
        names = os.listdir(directory)  # noqa: PTH208 - Path.iterdir does no more
    except (FileNotFoundError, NotADirectoryError):
        return []
    return sorted(directory / name for name in names)


def _hello(data: bytes, owner: int) -> frames.Hello:
    message, _ = frames.decode([data])
    if not isinstance(message, frames.Hello):
        raise ProtocolError(f"a hello was expected, not {type(message).__name__}")
    if owner != os.getuid() and any("class" in (options or {}) for options in (message.backends or {}).values()):
        raise ProtocolError("a file of another user names a backend's class: code of their choice is not loaded")
    return message


def _by_steps(number: int, key: Key, batches: Iterator[LeftBatch]) -> Iterator[tuple[float, int, Key, LeftBatch]]:
    step = -math.inf
    for batch in batches:
        row = _first_row(batch)
        step = step if row is None else max(step, row.step)
        yield step, number, key, batch


def _first_row(batch: LeftBatch) -> records.Row | None:
    try:
        for start, end in records.iterate(batch.payload):
            record = records.decode(batch.payload[start:end])
            if isinstance(record, records.Row):
                return record
    except ProtocolError:
        pass  # whoever takes the batch will say so
    return None


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
        told = about("ring-spoiled", cause=error)
        log.error("a ring is spoiled after record %d: %s", seq + len(group), error, extra=told)
    if group:
        batches.append(LeftBatch(seq, len(group), b"".join(group)))
    return batches
