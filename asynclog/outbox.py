"""The outbox: mapped memory in which media bodies wait for the daemon, made when the first one comes.

One writer at a time puts (the run's lock), the sender frees. The format is asynclog_proto.outboxfile's.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from asynclog import ringplace
from asynclog._media.form import Part
from asynclog._media.laying import lay, write_at
from asynclog_proto.media import Place
from asynclog_proto.outboxfile import HEADER, fit, header

STEP = 4 << 20
"""Bytes of the file that are reserved at once."""

AHEAD = 16 << 20
"""How far the sender reserves beyond what was ever written: a page's first touch should not cost the training."""


class Outbox:
    """`path` is where its file is, `capacity` how many bytes of bodies it holds at once.

    Raises OSError when the file can't be made.
    """

    def __init__(self, path: Path, capacity: int) -> None:
        self.path = path
        self.capacity = capacity
        self._head = 0
        self._begin = 0
        """where the writer began a lap anew: nothing before it is in use"""
        self._freed = 0
        self._highest = HEADER
        """the end of what was ever written, in the file"""
        self._reserved = 0
        self._reserving = threading.Lock()
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(self._descriptor, HEADER + capacity)
            self._mapping = mmap.mmap(self._descriptor, HEADER + capacity)
            if not self._reserve(min(STEP, HEADER + capacity)):
                raise OSError(f"no room for an outbox in {path.parent}")
        except BaseException:
            os.close(self._descriptor)
            with contextlib.suppress(OSError):
                path.unlink()
            raise
        self.data = memoryview(self._mapping)
        self.data[:HEADER] = header(capacity)

    @property
    def used(self) -> int:
        """Bytes that are not free, with the gaps at the ends of laps."""
        return self._head - self._tail

    @property
    def _tail(self) -> int:
        return max(self._begin, self._freed)

    def put(self, parts: Sequence[Part], size: int) -> Place | None:
        """Copy a body of `size` bytes in; None when there is no room now."""
        claimed = self.claim(size)
        if claimed is None:
            return None
        position, at = claimed
        place = Place(0, position, size)
        try:
            with self.data[at : at + size] as view:
                lay(view, parts)
        except BaseException:
            self.take_back(place)
            raise
        return place

    def claim(self, size: int) -> tuple[int, int] | None:
        """Take `size` bytes, for one body or more: their position, and where in `data` they begin. None when there is
        no room now. Those of the last claim are given up by `take_back`.
        """
        tail = max(self._freed, self._begin)
        if tail == self._head:
            self._rewind()
            tail = self._head
        offset = fit(tail, self._head, size, self.capacity)
        if offset is None:
            return None
        at = HEADER + offset % self.capacity
        if at + size > self._highest:
            if not self._reserve(at + size):
                return None
            self._highest = at + size
        self._head = offset + size
        return offset, at

    def take_back(self, place: Place) -> None:
        """Forget what was put or claimed last: no record names it."""
        if self._head == place.offset + place.size:
            self._head = max(place.offset, self._tail)

    def free(self, position: int) -> None:
        """Nothing before `position` is needed any more."""
        self._freed = max(self._freed, min(position, self._head))

    def grow(self) -> None:
        """Have the pages ready that are written next; from the sender's thread."""
        wanted = min(self._highest + AHEAD, HEADER + self.capacity)
        while self._reserved < wanted and self._reserve(self._reserved + 1):
            pass

    def _rewind(self) -> None:
        """Nothing is in use: go on at the beginning of the next lap, whose pages are the warmest."""
        if self._head % self.capacity:
            self._head += self.capacity - self._head % self.capacity
            self._begin = self._head

    def _reserve(self, end: int) -> bool:
        """Let the file have its pages up to `end`: writing to a hole of a full tmpfs would be a SIGBUS."""
        if end <= self._reserved:
            return True
        with self._reserving:
            start = self._reserved
            end = min(-(-end // STEP) * STEP, HEADER + self.capacity)
            if start < end:
                try:
                    ringplace.allocate(self._descriptor, start, end - start)
                except OSError:
                    return False
                _populate(self._mapping, start // mmap.PAGESIZE * mmap.PAGESIZE, end)
                self._reserved = end
        return True

    # ---- the end ------------------------------------------------------------------------------------------------

    def remove(self) -> None:
        """Take the file away: nothing in it is needed. Idempotent."""
        with contextlib.suppress(OSError):
            self.path.unlink()

    def move_to(self, path: Path) -> None:
        """Keep what is not freed in a file at `path`, of the same form, and take this one away. Raises OSError."""
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.ftruncate(descriptor, HEADER + self.capacity)
            for start, end in [(0, HEADER), *self._in_use()]:
                with self.data[start:end] as view:
                    write_at(descriptor, view, start)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise
        finally:
            os.close(descriptor)
        part.replace(path)
        self.remove()

    def _in_use(self) -> list[tuple[int, int]]:
        """The file's ranges that hold bodies which are not freed."""
        tail, head = self._tail, self._head
        if tail == head:
            return []
        first, last = HEADER + tail % self.capacity, HEADER + (head - 1) % self.capacity + 1
        if first < last and head - tail < self.capacity:
            return [(first, last)]
        return [(first, HEADER + self.capacity), (HEADER, last)]

    def close(self) -> None:
        """Unmap the file, and leave it. Idempotent."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)
            self.data.release()
            self._mapping.close()


def _populate(mapping: mmap.mmap, start: int, end: int) -> None:
    """Map the pages of a range for writing, all at once: one by one, as they are touched, cost 18 ms for 3 MB in a
    trial, and so 1.3 ms. An older kernel or another system does not know it, and takes the long way.
    """
    if sys.platform != "linux":
        return
    import ctypes  # its calls let other threads run, mmap's own madvise does not

    first = ctypes.c_char.from_buffer(mapping, start)
    populate_write = 23  # Linux 5.14; Python has no name for it
    ctypes.CDLL(None).madvise(ctypes.c_void_p(ctypes.addressof(first)), ctypes.c_size_t(end - start), populate_write)
