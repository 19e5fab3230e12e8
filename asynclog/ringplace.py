"""Where a ring lies: a locked file on tmpfs, else on disk, else plain memory."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from asynclog_proto import places, ringfile


class RingFile:
    """A mapped ring and its lock, which says that this process lives; `path` is None for plain memory."""

    def __init__(self, mapping: mmap.mmap, path: Path | None, descriptor: int | None) -> None:
        self.mapping = mapping
        self.path = path
        self._descriptor = descriptor

    def remove(self) -> None:
        """Take the file away: all that it held is elsewhere. Idempotent."""
        if self.path is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()
        self.unlock()

    def unlock(self) -> None:
        """Give up the lock, and leave the file for whoever reads it next. Idempotent."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            os.close(descriptor)


def create(
    paths: Sequence[Path], capacity: int, hello: Callable[[str], bytes], tell: Callable[[str], None]
) -> RingFile:
    """A fresh ring at the first of `paths` that takes it; `hello` makes its greeting from the path.

    Each path that does not is told with its reason; when none does, the ring is plain memory.
    """
    for path in paths:
        try:
            return _create(path, capacity, hello(str(path)))
        except OSError as error:
            tell(f"no ring of {capacity >> 10} KiB in {path.parent}: {error.strerror or error}")
    mapping = mmap.mmap(-1, ringfile.HEADER + capacity)
    mapping[: ringfile.HEADER] = ringfile.header(capacity, hello(""))
    tell("records wait in plain memory: they do not survive a SIGKILL of this process until they are sent")
    return RingFile(mapping, None, None)


def private_dir(path: Path) -> None:
    """Make `path` (0700) and its parents. Raises UnsafePathError when it is someone else's, else OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    places.check_private(path, os.lstat(path), os.getuid())


# Every page is mapped at once: otherwise the first touch of each costs a fault, one in 34 calls of log().
_FLAGS = mmap.MAP_SHARED | getattr(mmap, "MAP_POPULATE", 0)


def _create(path: Path, capacity: int, hello: bytes) -> RingFile:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    # A reader never sees half a ring: it is whole and locked before it gets its name.
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        allocate(descriptor, 0, ringfile.HEADER + capacity)
        # A record lock: a forked child does not hold it, death releases it, and closing any other descriptor of
        # this file in this process would too, so nothing here opens it again.
        fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mapping = mmap.mmap(descriptor, ringfile.HEADER + capacity, flags=_FLAGS)
        mapping[: ringfile.HEADER] = ringfile.header(capacity, hello)
        fresh.rename(path)
    except BaseException:
        os.close(descriptor)
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise
    return RingFile(mapping, path, descriptor)


def allocate(descriptor: int, offset: int, size: int) -> None:
    """Reserve every page of a range now: writing to a mapped hole of a full tmpfs would be a SIGBUS. What is written
    there already may be lost. Raises OSError where there is no room.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, offset, size)
        return
    for begin in range(offset, offset + size, 1 << 20):
        os.pwrite(descriptor, bytes(min(1 << 20, offset + size - begin)), begin)
