"""Whether the process of a stream lives, by what it holds and writes here."""

from __future__ import annotations

import fcntl
import math
import os
import time
from pathlib import Path

import psutil

from asynclog_proto import frames, places, spoolfile
from asynclog_proto.errors import ProtocolError
from asynclog_proto.limits import MAX_HEADER_BYTES
from asynclogd.recovery import segments

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


def is_written(spool: Path | None, host: str, pid: int) -> bool:
    """Whether the process that spools there lives, for a stream that has no ring whose lock would tell. Only of this
    machine's can it be told: there is one with its id, which began before the spool was last written. Of another
    container's, whose ids are not ours, it is not told by its id: it lives while it has written lately.
    """
    try:
        found = segments(spool) if spool is not None and host == os.uname().nodename else []
        written = max((segment.stat().st_mtime for segment in found), default=-math.inf)
        if found and _is_elsewhere(_pid_namespace(found[-1])):
            return time.time() - written < LATELY_SECONDS
        process = psutil.Process(pid)
        return process.create_time() <= written and process.status() != psutil.STATUS_ZOMBIE
    except (psutil.Error, ValueError):  # the last: an id that no process can have
        return False
    except OSError:  # no descriptor is left, or a disk fails: that does not tell that it is dead
        return True


def is_of_another_container(hello: frames.Hello) -> bool:
    """Whether a process of this machine counts its id where it says nothing here."""
    return hello.host == os.uname().nodename and _is_elsewhere(hello.pid_namespace)


def _is_elsewhere(namespace: str) -> bool:
    return namespace not in ("", places.pid_namespace())


def _pid_namespace(segment: Path) -> str:
    """In which the id of a spool's process counts, "" when it does not tell. Raises OSError."""
    with segment.open("rb") as file:
        begins = memoryview(file.read(HELLO_BYTES))
    try:
        message, _ = frames.decode([spoolfile.read_hello(begins)])
    except ProtocolError:
        return ""
    return message.pid_namespace if isinstance(message, frames.Hello) else ""
