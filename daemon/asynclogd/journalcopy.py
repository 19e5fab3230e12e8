"""Reading a journal that may be open elsewhere: as it is when nobody has it, else a copy.

A copy of a file that another process writes is of one moment only if nothing was overwritten meanwhile. Before SQLite
overwrites anything in the database, that is in the write-ahead log; and before it overwrites the log, the log gets
another header. So the database is copied first, then the log: with the header that was there before, the log has every
page that may have changed under the copying.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asynclogd.journal import Journal, JournalBusyError

WAL_HEADER_BYTES = 32
ATTEMPTS = 20

COPY_PREFIX = ".reading-"
"""What the directories of copies begin with, beside their journals."""

COPY_BYTES = 4 << 20


@contextmanager
def reading(path: Path) -> Iterator[tuple[Journal, bool]]:
    """The journal at `path`, and whether it is a copy because another process has it open. It has to be there.

    Raises FileNotFoundError, JournalBusyError when no whole copy can be had, and what `Journal.open` raises.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no journal")
    try:
        journal = Journal.open(path)
    except JournalBusyError:
        with (
            tempfile.TemporaryDirectory(prefix=COPY_PREFIX, dir=path.parent) as directory,
            Journal.open(copied(path, Path(directory))) as copy,
        ):
            yield copy, True
    else:
        with journal:
            yield journal, False


def copied(path: Path, directory: Path) -> Path:
    """A copy of one moment of a journal that another process has open. Raises JournalBusyError, OSError."""
    copy = directory / "copy.sqlite"
    log, log_copy = _log_of(path), _log_of(copy)
    for _ in range(ATTEMPTS):
        before, file_before = _header(log), _state(path)
        copy_file(path, copy)
        with contextlib.suppress(FileNotFoundError):
            copy_file(log, log_copy)
        # Where there was no log, nothing has been written since the file was opened, and nothing shall have been.
        if _header(log) == before and (before or _state(path) == file_before):
            return copy
    raise JournalBusyError(
        f"{path}: it changes faster than it can be copied, because another process writes to it: try again later"
    )


def copy_file(source: Path, target: Path) -> None:
    """Copy a file as long as it is now: one that grows meanwhile would never end. What a database has grown by is in
    its log.
    """
    with source.open("rb") as from_file, target.open("wb") as to_file:
        left = os.fstat(from_file.fileno()).st_size
        while left and (data := from_file.read(min(left, COPY_BYTES))):
            to_file.write(data)
            left -= len(data)


def _header(log: Path) -> bytes:
    try:
        with log.open("rb") as file:
            return file.read(WAL_HEADER_BYTES)
    except FileNotFoundError:
        return b""


def _state(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_mtime_ns, facts.st_size


def _log_of(path: Path) -> Path:
    return path.with_name(path.name + "-wal")
