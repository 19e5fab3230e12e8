"""A run's journal: one SQLite file, one owner. docs/journal.md has format, recovery and invariants in prose.

    with Journal.open(run_dir / "journal.sqlite") as journal:
        offsets = journal.commit(Commit(inputs=[...], items=[...]))
        for offset, item in journal.items(after=0, max_bytes=1 << 20): ...

Errors, all of them AsynclogErrors that name the file:

    JournalError
    ├── JournalBusyError       another process (or another Journal) has it open
    ├── JournalVersionError    written by a newer asynclog
    └── JournalCorruptError    not a journal, or no longer what was written
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any

from asynclog_proto.errors import AsynclogError, ProtocolError, UnsafePathError
from asynclogd import itemcodec, journalrows
from asynclogd.entries import Commit, Cursor, DeadLetter, Input, Stream
from asynclogd.layouts import Layouts
from asynclogd.points import Item

PAGE_BYTES = 8192
CHECKPOINT_PAGES = 2048
"""Once the WAL has so many pages (16 MiB), a commit moves them into the database: rarer fsyncs, a bounded WAL."""

READ_BYTES = 4 << 20
"""Inputs are read so many bytes at a time, so that no statement stays open between two of them."""


class JournalError(AsynclogError):
    """The journal can't be used; the text begins with its path."""


class JournalBusyError(JournalError):
    """It is open elsewhere."""


class JournalVersionError(JournalError):
    """A newer asynclog wrote it."""


class JournalCorruptError(JournalError):
    """It is not a journal, or not what was written."""


class Journal:
    """Inputs, items, streams, cursors, dead letters, facts and a snapshot of one run.

    Used from one thread at a time. What `commit` has returned for survives the death of any process, and with
    durability "fsync" the loss of power.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Use `Journal.open`."""
        self.path = path
        self._connection = connection
        with self._reading():
            self._layouts = Layouts(connection)
            self._last_input = self._last("inputs")
            self.last_offset = self._last("items")

    @classmethod
    def open(cls, path: Path, durability: str = "process") -> Journal:
        """Open the journal at `path`, or begin one (mode 0600; its directory has to be there).

        `durability` is "process" or "fsync". Raises JournalBusyError, JournalVersionError, JournalCorruptError,
        UnsafePathError when the path is not a file of ours, OSError.
        """
        if durability not in ("process", "fsync"):
            raise ValueError(f"durability is process or fsync, not {durability!r}")
        _prepare(path)
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            with _named(path):
                _configure(connection, durability)
                _check_format(path, connection)
            return cls(path, connection)
        except BaseException:
            connection.close()
            raise

    def commit(self, commit: Commit) -> list[int]:
        """Journal all of it or nothing. Returns the offsets of its items: 1, 2, 3, ... over the journal's life.

        Raises sqlite3.Error or OSError with nothing written; the same commit may be tried again.
        """
        execute = self._connection.execute
        first_offset, last_input = self.last_offset + 1, self._last_input + len(commit.inputs)
        execute("BEGIN IMMEDIATE")
        try:
            self._write(commit, first_offset)
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            self._layouts.reload()
            raise
        self._last_input = last_input
        self.last_offset += len(commit.items)
        return list(range(first_offset, self.last_offset + 1))

    def _write(self, commit: Commit, first_offset: int) -> None:
        execute, put = self._connection.execute, journalrows.PUT
        for number, entry in enumerate(commit.inputs, self._last_input + 1):
            execute(journalrows.INSERT_INPUT, journalrows.input_row(number, entry))
        for offset, item in enumerate(commit.items, first_offset):
            body = itemcodec.encode(item, self._layouts.number)
            execute(journalrows.INSERT_ITEM, journalrows.row(offset, body))
        for stream in commit.streams:
            execute(put["streams"], journalrows.row(stream.id, journalrows.pack_stream(stream)))
        for backend, cursor in commit.cursors.items():
            execute(put["cursors"], journalrows.row(backend, journalrows.pack_cursor(cursor)))
        for letter in commit.dead_letters:
            execute(put["dead_letters"], journalrows.dead_letter_row(letter))
        for name, fact in commit.facts.items():
            execute(put["facts"], journalrows.row(name, journalrows.pack(fact)))
        if commit.snapshot is not None:
            execute("DELETE FROM snapshot")
            after = self._last_input + len(commit.inputs)
            execute(put["snapshot"], journalrows.row(after, commit.snapshot))

    def streams(self) -> list[Stream]:
        """The streams, by their ids."""
        return [journalrows.read_stream(number, body) for number, body in self._rows("streams")]

    def facts(self) -> dict[str, Any]:
        """The facts as they were set last."""
        return {name: journalrows.unpack(body) for name, body in self._rows("facts")}

    def cursors(self) -> dict[str, Cursor]:
        """The cursor of each backend that has ever had one."""
        return {name: journalrows.read_cursor(body) for name, body in self._rows("cursors")}

    def cursor(self, backend: str) -> Cursor | None:
        """The cursor of one backend."""
        return self.cursors().get(backend)

    def dead_letters(self) -> list[DeadLetter]:
        """Every dead letter, by backend and offset."""
        letters = [journalrows.read_dead_letter(body) for _, body in self._rows("dead_letters")]
        return sorted(letters, key=lambda letter: (letter.backend, letter.offset))

    def snapshot(self) -> tuple[int, bytes] | None:
        """The id of the input that the reducer's latest snapshot stands after, and the snapshot."""
        rows = self._rows("snapshot")
        return rows[0] if rows else None

    def inputs(self, after: int) -> Iterator[tuple[int, Input]]:
        """Inputs with an id above `after`, in order, read as they are asked for."""
        query = "SELECT * FROM inputs WHERE id > ? ORDER BY id"
        while rows := self._some(query, after, READ_BYTES, lambda row: len(row[6])):
            for row in rows:
                with self._reading():
                    number, entry = journalrows.read_input(row)
                yield number, entry
            after = rows[-1][0]

    def items(self, after: int, max_bytes: int) -> list[tuple[int, Item]]:
        """Items after an offset, in order: as many as fit `max_bytes` as stored, but one if there is one."""
        query = "SELECT id, body, crc FROM items WHERE id > ? ORDER BY id"
        rows = self._some(query, after, max_bytes, lambda row: len(row[1]))
        with self._reading():
            return [
                (offset, itemcodec.decode(journalrows.check(offset, body, crc), self._layouts.names))
                for offset, body, crc in rows
            ]

    @property
    def size(self) -> int:
        """Bytes on disk, the WAL included."""
        wal = self.path.with_name(self.path.name + "-wal")
        return sum(os.stat(path).st_size for path in (self.path, wal) if path.exists())

    def close(self) -> None:
        """Move the WAL into the database and let go of the file. Idempotent."""
        self._connection.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _last(self, table: str) -> int:
        (last,) = self._connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()  # noqa: S608 - ours
        return int(last)

    def _rows(self, table: str) -> list[tuple[Any, bytes]]:
        with self._reading():
            rows = self._connection.execute(f"SELECT id, body, crc FROM {table} ORDER BY id")  # noqa: S608 - ours
            return [(key, journalrows.check(key, body, crc)) for key, body, crc in rows]

    def _some(
        self, query: str, after: int, max_bytes: int, weigh: Callable[[Any], int]
    ) -> list[tuple[Any, ...]]:
        """Rows after an id until they weigh `max_bytes`. Ids have no holes: a hole is a lost row."""
        taken: list[tuple[Any, ...]] = []
        with self._reading():
            cursor = self._connection.execute(query, (after,))
            for row in cursor:
                max_bytes -= weigh(row)
                if taken and max_bytes < 0:
                    break
                if taken and row[0] != taken[-1][0] + 1:
                    raise ProtocolError(f"row {taken[-1][0] + 1} is missing")
                taken.append(row)
            cursor.close()
        return taken

    @contextmanager
    def _reading(self) -> Iterator[None]:
        with _named(self.path):
            yield


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """What SQLite or a decoder says, as an error of ours that names the file."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise JournalBusyError(f"{path}: another process has this journal open") from error
        raise JournalCorruptError(f"{path}: can't be read: {error}") from error
    except (sqlite3.DatabaseError, ProtocolError) as error:
        raise JournalCorruptError(f"{path}: {error}") from error
    except (TypeError, UnicodeDecodeError) as error:
        raise JournalCorruptError(f"{path}: a row is not of the type it should be: {error}") from error


def _prepare(path: Path) -> None:
    """A file of ours with mode 0600. An existing one is never opened here: closing any descriptor of it would
    drop the locks that SQLite holds for this process."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        facts = os.lstat(path)
        if not stat.S_ISREG(facts.st_mode) or facts.st_uid != os.getuid():
            raise UnsafePathError(f"{path}: not a regular file of this user") from None
        if stat.S_IMODE(facts.st_mode) != 0o600:
            path.chmod(0o600)
        return
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _configure(connection: sqlite3.Connection, durability: str) -> None:
    execute = connection.execute
    # Before the first read: then the WAL's index lives in our memory, and NFS need not offer shared memory.
    execute("PRAGMA locking_mode = EXCLUSIVE")
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
    elif application != journalrows.APPLICATION_ID:
        raise JournalCorruptError(f"{path}: an SQLite database, but not a journal of asynclog")
    elif version > journalrows.FORMAT:
        raise JournalVersionError(
            f"{path}: format {version}; this asynclog reads up to {journalrows.FORMAT}: use a newer one"
        )
    execute("COMMIT")
