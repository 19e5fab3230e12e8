"""A journal's file: who may open it, how SQLite is to treat it, and what its errors mean.

Errors, all of them AsynclogErrors that name the file:

    JournalError
    ├── JournalBusyError       another process (or another Journal) has it open
    ├── JournalDiskError       reading or writing fails (EIO): an OSError too, as a full disk is
    ├── JournalVersionError    written by a newer asynclog
    └── JournalCorruptError    not a journal, or no longer what was written
"""

from __future__ import annotations

import errno
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from asynclog_proto import __version__
from asynclog_proto.errors import AsynclogError, ProtocolError, UnsafePathError
from asynclogd import journalrows
from asynclogd.disk import sync_directory

PAGE_BYTES = 8192
CHECKPOINT_PAGES = 2048
"""Once the WAL has so many pages (16 MiB), a commit moves them into the database: rarer fsyncs, a bounded WAL."""


class JournalError(AsynclogError):
    """The journal can't be used; the text begins with its path."""


class JournalBusyError(JournalError):
    """It is open elsewhere."""


class JournalDiskError(JournalError, OSError):
    """Its disk says that it can't be read or written now."""


class JournalVersionError(JournalError):
    """A newer asynclog wrote it."""


class JournalCorruptError(JournalError):
    """It is not a journal, or not what was written."""


def connect(path: Path, durability: str) -> sqlite3.Connection:
    """The one connection to the journal at `path`, which is begun when there is none. See `Journal.open`."""
    if durability not in ("process", "fsync"):
        raise ValueError(f"durability is process or fsync, not {durability!r}")
    _prepare(path)
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
    try:
        with named(path):
            # Before the first read: then the WAL's index lives in our memory, and NFS need not offer shared memory.
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            _check_not_newer(path, connection)
            _configure(connection, durability)
            _check_format(path, connection)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def named(path: Path) -> Iterator[None]:
    """What SQLite or a decoder says, as an error of ours that names the file; a full or failing disk is an OSError."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise JournalBusyError(
                f"{path}: another process has this journal open (a daemon, or asynclog sync, export, replay or show)"
            ) from error
        if "disk is full" in str(error):  # it passes, and who wants the run is asked to wait
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
        if "disk I/O error" in str(error) or "unable to open database file" in str(error):  # so may these
            raise JournalDiskError(f"{path}: its disk fails, or no file descriptor is left: {error}") from error
        raise JournalCorruptError(f"{path}: can't be read: {error}") from error
    except (sqlite3.DatabaseError, ProtocolError) as error:
        raise JournalCorruptError(f"{path}: {error}") from error
    except (TypeError, UnicodeDecodeError) as error:
        raise JournalCorruptError(f"{path}: a row is not of the type it should be: {error}") from error


def _prepare(path: Path) -> None:
    """A file of ours with mode 0600. An existing one is never opened here: closing any descriptor of it would
    drop the locks that SQLite holds for this process.
    """
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        facts = os.lstat(path)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.getuid():
            raise UnsafePathError(f"{path}: not a regular file of this user") from None
        if stat.S_IMODE(facts.st_mode) != 0o600:
            path.chmod(0o600)
        return
    sync_directory(path.parent)


def _check_not_newer(path: Path, connection: sqlite3.Connection) -> None:
    """Before anything is set, for that could change a format of which we know nothing."""
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    if application == journalrows.APPLICATION_ID and version > journalrows.FORMAT:
        raise JournalVersionError(
            f"{path}: written by a newer asynclog in format {version}; this one, {__version__}, reads formats up to "
            f"{journalrows.FORMAT} and has left it as it is: update asynclog, and end the daemon that still runs"
        )


def _configure(connection: sqlite3.Connection, durability: str) -> None:
    execute = connection.execute
    execute(f"PRAGMA page_size = {PAGE_BYTES}")
    execute("PRAGMA journal_mode = WAL")
    execute(f"PRAGMA synchronous = {'FULL' if durability == 'fsync' else 'NORMAL'}")
    execute(f"PRAGMA fullfsync = {int(durability == 'fsync')}")  # macOS: through the drive's cache as well
    execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    execute(f"PRAGMA journal_size_limit = {4 * CHECKPOINT_PAGES * PAGE_BYTES}")
    execute("PRAGMA trusted_schema = OFF")
    execute("PRAGMA cell_size_check = ON")


def _check_format(path: Path, connection: sqlite3.Connection) -> None:
    """Take the lock, and make the tables if the file is new."""
    execute = connection.execute
    execute("BEGIN IMMEDIATE")
    (version,) = execute("PRAGMA user_version").fetchone()
    (application,) = execute("PRAGMA application_id").fetchone()
    (tables,) = execute("SELECT count(*) FROM sqlite_master").fetchone()
    if version == application == tables == 0:
        for table in journalrows.TABLES:
            execute(table)
        execute(f"PRAGMA application_id = {journalrows.APPLICATION_ID}")
        execute(f"PRAGMA user_version = {journalrows.FORMAT}")
    elif application != journalrows.APPLICATION_ID or version < 1:
        raise JournalCorruptError(f"{path}: an SQLite database, but not a journal of asynclog")
    execute("COMMIT")
