"""What the file backends share: appending at a known length, replacing whole, setting aside, telling a loss."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from asynclogd.disk import write_at

_MOST_PENDING = 1 << 23


class AppendFile:
    """A file that grows at its end only, so that its length is a position.

    What was written after the length that `flush` returned last is cut off when the file is opened at that length.
    """

    def __init__(self, path: Path, length: int, *, fsync: bool) -> None:
        """Open `path` and cut it to `length` bytes (it is created when it is not there)."""
        self.path = path
        self.length = length
        self._fsync = fsync
        self._unsynced = False
        self._pending: list[bytes | memoryview] = []
        self._pending_bytes = 0
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            os.ftruncate(self._descriptor, length)
        except OSError:
            self.close()
            raise

    def append(self, chunk: bytes | memoryview) -> None:
        """Take bytes; they reach the file with `flush`, or before when they are many."""
        self._pending.append(chunk)
        self._pending_bytes += len(chunk) if isinstance(chunk, bytes) else chunk.nbytes
        if self._pending_bytes >= _MOST_PENDING:
            self._write_out()

    def flush(self) -> int:
        """Write what was taken and return the file's length. Raises OSError and keeps the bytes: flush again."""
        self._write_out()
        if self._fsync and self._unsynced:
            os.fsync(self._descriptor)
            self._unsynced = False
        return self.length

    def _write_out(self) -> None:
        if self._pending:
            data = self._pending[0] if len(self._pending) == 1 else b"".join(self._pending)
            self.length += write_at(self._descriptor, memoryview(data).cast("B"), self.length)
            self._pending, self._pending_bytes, self._unsynced = [], 0, True

    def close(self) -> None:
        """Let go of the file; what was not flushed is lost. Idempotent."""
        self._pending = []
        if self._descriptor >= 0:
            descriptor, self._descriptor = self._descriptor, -1
            os.close(descriptor)  # it is let go of, even when that raises


def replace(path: Path, chunks: Iterable[bytes], *, fsync: bool) -> None:
    """Make `path` hold `chunks`, all of them or none: a reader sees the old content or the new."""
    draft = path.with_name(f".{path.name}.draft")
    with draft.open("wb") as file:
        file.writelines(chunks)
        if fsync:
            file.flush()
            os.fsync(file.fileno())
    draft.replace(path)


class TakenOut:
    """A mark, a file, that rows have been taken out which the last committed position counts: that there are fewer is
    no loss then. It lies until a flush that took nothing out. By then the position of the one before is committed: the
    sink makes sure of it after a rewind, a revision and the first flush of an opening.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._noted = False

    def note(self) -> None:
        """Rows are about to be taken out. Raises OSError."""
        self._path.touch()
        self._noted = True

    def flushed(self) -> None:
        """A flush is done."""
        if not self._noted:
            self.clear()
        self._noted = False

    def clear(self) -> None:
        """Nothing is committed, or all that was taken out."""
        self._path.unlink(missing_ok=True)

    def explains(self, found: int, counted: int | None) -> bool:
        """Whether `found` rows, where the position counts so many (None: it does not tell), are no loss."""
        if counted is None or found >= counted:
            return True
        self._noted = self._path.exists()  # what comes again finds them gone, and does not note it
        return self._noted


def set_aside(path: Path) -> Path | None:
    """Rename what the journal knows nothing of (it begins anew, and offers those points again) so that no reader
    takes it for the run's. The new name, or None when nothing was there.
    """
    name = path.name.replace("tfevents", "events")
    aside = path.with_name(f"set-aside.{name}")
    with contextlib.suppress(FileNotFoundError):
        path.replace(aside)
        return aside
    return None
