"""A stream's bounded file on disk, for records that the daemon has not taken: segments, appended and dropped whole.

A batch counts as spooled when `write` has returned: it survives this process then, and the ring may forget it. The
oldest segment is deleted when all of it is acked.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from asynclog_proto import spoolfile

SEGMENT_BYTES = 64 << 20


class SpoolRange(NamedTuple):
    """Where a batch's records lie: `size` bytes at `offset` of the segment with this number."""

    segment: int
    offset: int
    size: int


@dataclass(slots=True)
class _Segment:
    number: int
    path: Path
    size: int
    last_seq: int


class Spool:
    """`cap` is in bytes, over all segments; `tell` hears once why nothing is taken any more."""

    def __init__(self, directory: Path, hello: bytes, cap: int, tell: Callable[[str], None]) -> None:
        self.directory = directory
        self._start = spoolfile.start(hello)
        self._cap = cap
        self._tell = tell
        self._segments: deque[_Segment] = deque()
        self._number = 0
        self._writing: int | None = None
        self._reading: tuple[int, int] | None = None

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(segment.size for segment in self._segments)

    def append(self, first_seq: int, count: int, payload: memoryview) -> SpoolRange | None:
        """Put a batch on disk; None when the cap or the disk does not allow it, now."""
        size = spoolfile.ENTRY_OVERHEAD + len(payload)
        if self.size + size + len(self._start) > self._cap:
            self._tell(f"the spool in {self.directory} is at its cap, ASYNCLOG_SPOOL_MB={self._cap >> 20}")
            return None
        try:
            segment = self._current(size)
            offset = segment.size + spoolfile.ENTRY_OVERHEAD
            self._write(segment, spoolfile.entry(first_seq, count, payload))
        except OSError as error:
            self._tell(f"can't spool to {self.directory}: {error.strerror or error}")
            return None
        segment.last_seq = first_seq + count
        return SpoolRange(segment.number, offset, len(payload))

    def read(self, taken: SpoolRange) -> bytes:
        """A batch's records. Raises OSError when they can't be read."""
        if self._reading is None or self._reading[0] != taken.segment:
            self._close_reading()
            self._reading = (taken.segment, os.open(self._path(taken.segment), os.O_RDONLY | os.O_CLOEXEC))
        data = os.pread(self._reading[1], taken.size, taken.offset)
        if len(data) != taken.size:
            raise OSError(f"{self._path(taken.segment)} is shorter than it was")
        return data

    def release(self, acked_seq: int) -> None:
        """Delete the segments of which every record comes before `acked_seq`."""
        while self._segments and self._segments[0].last_seq <= acked_seq:
            segment = self._segments.popleft()
            if not self._segments:
                self._close_writing()
            if self._reading is not None and self._reading[0] == segment.number:
                self._close_reading()
            with contextlib.suppress(OSError):
                segment.path.unlink()

    def leave_counts(self, finish: bytes) -> None:
        """The client ends: what it counted (a Finish frame) is left beside the segments, if there are any."""
        if not self._segments:
            return
        path = self.directory / spoolfile.COUNTS
        part = path.with_suffix(".part")
        try:
            part.touch(0o600)
            part.write_bytes(spoolfile.counts(finish))
            part.replace(path)
        except OSError as error:
            self._tell(f"can't leave the counts of dropped values in {self.directory}: {error.strerror or error}")
            with contextlib.suppress(OSError):
                part.unlink()

    def close(self) -> None:
        """Close the files; leave no empty directory."""
        self._close_writing()
        self._close_reading()
        for directory in (self.directory, self.directory.parent):
            with contextlib.suppress(OSError):
                directory.rmdir()

    def _path(self, number: int) -> Path:
        return self.directory / f"{number:08}{spoolfile.SUFFIX}"

    def _current(self, size: int) -> _Segment:
        """The segment that takes the next `size` bytes."""
        if self._writing is None or self._segments[-1].size + size > SEGMENT_BYTES:
            self._begin()
        return self._segments[-1]

    def _begin(self) -> None:
        self._close_writing()
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        number = self._number + 1
        path = self._path(number)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC
        self._writing = os.open(path, flags, 0o600)
        self._number = number
        segment = _Segment(number, path, 0, 0)
        self._segments.append(segment)
        self._write(segment, self._start)

    def _write(self, segment: _Segment, data: bytes) -> None:
        assert self._writing is not None
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._writing, view) :]
        except OSError:
            self._undo(segment)
            raise
        segment.size += len(data)

    def _undo(self, segment: _Segment) -> None:
        """Cut half an entry off, or let the segment end with it: readers go no further than that."""
        assert self._writing is not None
        try:
            os.ftruncate(self._writing, segment.size)
        except OSError:
            self._close_writing()
        if segment.size == 0:
            self._close_writing()
            self._segments.remove(segment)
            with contextlib.suppress(OSError):
                segment.path.unlink()

    def _close_writing(self) -> None:
        descriptor, self._writing = self._writing, None
        if descriptor is not None:
            os.close(descriptor)

    def _close_reading(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            os.close(reading[1])
