"""Whether the process of a stream lives, by what it holds and writes here."""

from __future__ import annotations

import fcntl
import math
import os
import time
from collections.abc import Iterable
from pathlib import Path

import psutil

from asynclog_proto import frames, places, spoolfile
from asynclog_proto.errors import ProtocolError
from asynclog_proto.limits import MAX_HEADER_BYTES
from asynclogd.clockset import ClockSet
from asynclogd.entries import Stream
from asynclogd.recovery import segments, spools

HELLO_BYTES = MAX_HEADER_BYTES + 64
"""Its hello is within so many bytes of a segment's beginning."""

LATELY_SECONDS = 60.0
"""A spool that was written so long ago is one of a process that lives, where nothing else tells."""


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


class Sightings:
    """When spools were written last, by what is seen of them: the times of files are of a clock that may be set. Pure:
    the clocks are the caller's, `wall` in s since the epoch and `now` monotonic. Several threads may look.
    """

    def __init__(self, wall: float, now: float) -> None:
        self._clock = ClockSet(wall, now)
        self._seen: dict[Path, tuple[float, float]] = {}

    def is_late(self, spool: Path, written: float, wall: float, now: float) -> bool:
        """Whether it was `written`, as its files say, longer than LATELY_SECONDS ago. When it is seen first, or its
        files have become older, that alone tells, where the clock was not set since we began.
        """
        before, since = self._seen.get(spool, (math.inf, now))
        if written < before:
            was_set = self._clock.since_begun(wall, now)
            since = now - (0.0 if was_set else max(0.0, wall - written))
        elif written > before:
            since = now
        self._seen[spool] = written, since
        if now - since < LATELY_SECONDS:
            return False
        self._seen.pop(spool, None)
        return True


def sightings() -> Sightings:
    """Of a daemon that begins now."""
    return Sightings(time.time(), time.monotonic())


def is_written(spool: Path | None, host: str, pid: int, seen: Sightings) -> bool:
    """Whether the process that spools there lives, for a stream that has no ring whose lock would tell. Only of this
    machine's can it be told: there is one with its id, which began when it did; of a client that does not say when that
    was, before the spool was last written. Of another container's, whose ids are not ours, it is not told by its id: it
    lives while it has written lately.
    """
    try:
        found = segments(spool) if spool is not None and host == os.uname().nodename else []
        if spool is None or not found:
            return False
        written = max(segment.stat().st_mtime for segment in found)
        hello = _hello(found[-1])
        if hello is not None and _is_elsewhere(hello.pid_namespace):
            return not seen.is_late(spool, written, time.time(), time.monotonic())
        process = psutil.Process(pid)
        if hello is not None and hello.pid_ticks:
            is_it = places.process_ticks(pid) == hello.pid_ticks
        else:
            is_it = process.create_time() <= written
        return is_it and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):  # the last: an id that no process can have
        return False
    except OSError:  # no descriptor is left, or a disk fails: that does not tell that it is dead
        return True


def is_of_another_container(hello: frames.Hello) -> bool:
    """Whether a process of this machine counts its id where it says nothing here."""
    return hello.host == os.uname().nodename and _is_elsewhere(hello.pid_namespace)


def sign_of_life(run_dir: Path, streams: Iterable[Stream], rings: Iterable[Path]) -> str:
    """What tells that a rank of a run lives which no daemon need have heard of, "" for nothing: a ring of it that is
    locked, here or in one of the directories `rings`, or a spool that is written.
    """
    own = [path for place in (run_dir / "rings", *rings) for path in place.glob(places.rings_of(run_dir))]
    known = [Path(stream.ring) for stream in streams if stream.ring and stream.state == "live"]
    for ring in [*own, *known]:
        if not owner_is_dead(ring):
            return f"a process logs to it, by {ring}"
    try:
        spooled = next(filter(_goes_on, spools(run_dir)), None)
    except OSError as error:
        return f"its spool can't be looked at ({error})"
    return "" if spooled is None else f"a process spools to it, to {spooled}"


def _goes_on(spool: Path) -> bool:
    """Whether the client of a spool lives and has not ended. Of another machine's it is not known: it lives while it
    has written lately. Raises OSError.
    """
    found = segments(spool)
    if not found or (spool / spoolfile.COUNTS).exists():
        return False
    hello = _hello(found[-1])
    if hello is None or hello.host != os.uname().nodename:
        return time.time() - max(segment.stat().st_mtime for segment in found) < LATELY_SECONDS
    if hello.ring and Path(hello.ring).exists():
        return not owner_is_dead(Path(hello.ring))
    return is_written(spool, hello.host, hello.pid, sightings())


def _is_elsewhere(namespace: str) -> bool:
    return namespace not in ("", places.pid_namespace())


def _hello(segment: Path) -> frames.Hello | None:
    """Whose spool it is, None when it does not tell. Raises OSError."""
    with segment.open("rb") as file:
        begins = memoryview(file.read(HELLO_BYTES))
    try:
        message, _ = frames.decode([spoolfile.read_hello(begins)])
    except ProtocolError:
        return None
    return message if isinstance(message, frames.Hello) else None
