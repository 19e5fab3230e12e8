"""A run's journal: one SQLite file, one owner. docs/journal.md has format, recovery and invariants in prose.

    with Journal.open(run_dir / "journal.sqlite") as journal:
        offsets = journal.commit(Commit(inputs=[...], items=[...]))
        for offset, item in journal.items(after=0, max_bytes=1 << 20): ...

The errors are those of `journalfile`.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from asynclog_proto.errors import ProtocolError
from asynclogd import itemcodec, journalfile, journalrows
from asynclogd.entries import Commit, Cursor, DeadLetter, Input, Stream
from asynclogd.incidents import about
from asynclogd.journalfile import JournalBusyError, JournalCorruptError, JournalError, JournalVersionError
from asynclogd.layouts import Layouts
from asynclogd.points import Item

__all__ = ["Journal", "JournalBusyError", "JournalCorruptError", "JournalError", "JournalVersionError"]

log = logging.getLogger(__name__)

T = TypeVar("T")

MOST_GONE = 10_000
"""A hole of more rows is an id that is spoiled."""

MOST_LOOKED_AT = 100
"""As many of the newest inputs are looked at for one that is sound."""

READ_BYTES = 4 << 20
"""Inputs are read so many bytes at a time, so that no statement stays open between two of them."""


class Journal:
    """Inputs, items, streams, cursors, dead letters, facts and a snapshot of one run.

    Used from one thread at a time. What `commit` has returned for survives the death of any process, and with
    durability "fsync" the loss of power.
    """

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        """Use `Journal.open`."""
        self.path = path
        self._connection = connection
        self._spoiled = False
        """a commit has failed, and what it left is not undone yet"""
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
        connection = journalfile.connect(path, durability)
        try:
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
        if self._spoiled:
            self._undo()
        execute("BEGIN IMMEDIATE")
        try:
            self._write(commit, first_offset)
            execute("COMMIT")
        except BaseException:
            self._spoiled = True
            with suppress(sqlite3.Error):  # a disk that can't be read either: the next commit sees to it
                self._undo()
            raise
        self._last_input = last_input
        self.last_offset += len(commit.items)
        return list(range(first_offset, self.last_offset + 1))

    def _undo(self) -> None:
        """What a commit has left that failed; layouts that it named are not in the file. Raises sqlite3.Error."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        self._layouts.reload()
        self._spoiled = False

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
        return self._read("streams", journalrows.read_stream)

    def facts(self) -> dict[str, Any]:
        """The facts as they were set last."""
        return dict(self._read("facts", lambda name, body: (name, journalrows.unpack(body))))

    def cursors(self) -> dict[str, Cursor]:
        """The cursor of each backend that has ever had one. One that is spoiled is none: its backend begins anew."""
        return dict(self._sound("cursors", lambda name, body: (name, journalrows.read_cursor(body))))

    def cursor(self, backend: str) -> Cursor | None:
        """The cursor of one backend."""
        return self.cursors().get(backend)

    def dead_letters(self) -> list[DeadLetter]:
        """Every dead letter, by backend and offset."""
        letters = self._sound("dead_letters", lambda _, body: journalrows.read_dead_letter(body))
        return sorted(letters, key=lambda letter: (letter.backend, letter.offset))

    def snapshot(self) -> tuple[int, bytes] | None:
        """The id of the input that the reducer's latest snapshot stands after, and the snapshot; None when that is
        spoiled, for the inputs are there.
        """
        rows = self._sound("snapshot", lambda number, body: (number, body))
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

    def last_input(self) -> Input | None:
        """The newest input that is sound, None before the first."""
        for number in range(self._last_input, max(0, self._last_input - MOST_LOOKED_AT), -1):
            with suppress(JournalCorruptError):
                return next(entry for _, entry in self.inputs(number - 1))
        return None

    def items(self, after: int, max_bytes: int) -> list[tuple[int, Item]]:
        """Items after an offset, in order: as many as fit `max_bytes` as stored, but one if there is one."""
        query = "SELECT id, body, crc FROM items WHERE id > ? ORDER BY id"
        rows = self._some(query, after, max_bytes, lambda row: len(row[1]))
        with self._reading():
            return [
                (offset, itemcodec.decode(journalrows.check(offset, body, crc), self._layouts.names))
                for offset, body, crc in rows
            ]

    def scan(self, after: int) -> Iterator[tuple[int, Item | None]]:
        """Every item after an offset, None in the place of one that is spoiled or has gone. Raises JournalCorruptError
        where an offset is spoiled: then it is not known which ones are there.
        """
        query = "SELECT id, body, crc FROM items WHERE id > ? ORDER BY id LIMIT 20"
        while True:
            with self._reading():
                rows = self._connection.execute(query, (after,)).fetchall()
                for row in rows:
                    if not after < row[0] <= after + MOST_GONE:
                        raise ProtocolError(f"row {row[0]} comes after row {after}")
                    for gone in range(after + 1, row[0]):
                        yield gone, None
                    yield row[0], self._item(*row)
                    after = row[0]
            if not rows:
                return

    def _item(self, offset: Any, body: Any, crc: Any) -> Item | None:
        try:
            return itemcodec.decode(journalrows.check(offset, body, crc), self._layouts.names)
        except (ProtocolError, TypeError, UnicodeDecodeError):
            return None

    @property
    def size(self) -> int:
        """Bytes on disk, the WAL included; 0 where that can't be told: nothing fails for that."""
        wal = self.path.with_name(self.path.name + "-wal")
        try:
            return sum(each.stat().st_size for each in (self.path, wal) if each.exists())
        except OSError:
            return 0

    def close(self) -> None:
        """Move the WAL into the database and let go of the file. Idempotent."""
        self._connection.close()

    def __enter__(self) -> Journal:  # noqa: PYI034 - nobody derives from it, and 3.10 has no Self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _last(self, table: str) -> int:
        (last,) = self._connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()  # noqa: S608 - ours
        return int(last)

    def _read(self, table: str, make: Callable[[Any, bytes], T]) -> list[T]:
        """What `make` makes of each row's key and body, in the order of the keys."""
        with self._reading():
            return [make(key, journalrows.check(key, body, crc)) for key, body, crc in self._rows(table)]

    def _sound(self, table: str, make: Callable[[Any, bytes], T]) -> list[T]:
        """The same of a table of whose rows each stands for itself; those that are spoiled are told and left out."""
        found = []
        with self._reading():
            rows = self._rows(table)
        for key, body, crc in rows:
            try:
                found.append(make(key, journalrows.check(key, body, crc)))
            except (ProtocolError, TypeError, UnicodeDecodeError) as error:
                text, told = "%s: %s %r is spoiled, and left out: %s", about("journal-spoiled", cause=error)
                log.error(text, self.path, table, key, error, extra=told)
        return found

    def _rows(self, table: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(f"SELECT id, body, crc FROM {table} ORDER BY id").fetchall()  # noqa: S608 - ours

    def _some(self, query: str, after: int, max_bytes: int, weigh: Callable[[Any], int]) -> list[tuple[Any, ...]]:
        """Rows after an id until they weigh `max_bytes`. Ids have no holes: a hole is a lost row."""
        taken: list[tuple[Any, ...]] = []
        # A statement that an error leaves open would keep the tables locked, for ourselves.
        with self._reading(), closing(self._connection.execute(query, (after,))) as cursor:
            for row in cursor:
                max_bytes -= weigh(row)
                if taken and max_bytes < 0:
                    break
                if row[0] != after + 1:
                    raise ProtocolError(f"row {after + 1} is missing")
                taken.append(row)
                after = row[0]
        return taken

    def _reading(self) -> AbstractContextManager[None]:
        return journalfile.named(self.path)
