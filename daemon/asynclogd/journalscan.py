"""Every row of a journal, whatever has become of it, and others in their places: for who mends it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from asynclog_proto.errors import ProtocolError
from asynclogd import itemcodec, journalfile, journalrows
from asynclogd.entries import Input, Stream
from asynclogd.layouts import Layouts
from asynclogd.points import Item

MOST_GONE = 10_000
"""A hole of more rows is an id that is spoiled."""


class Scan:
    """Of one open journal."""

    def __init__(self, path: Path, connection: sqlite3.Connection, layouts: Layouts) -> None:
        """They are the journal's own."""
        self._path, self._connection, self._layouts = path, connection, layouts

    def items(self) -> Iterator[tuple[int, Item | None]]:
        """Every item, None in the place of one that is spoiled or has gone. Raises JournalCorruptError where so many
        have gone that rather an offset is spoiled.
        """
        offset = 1
        for row in self._each("SELECT id, body, crc FROM items WHERE id > ? ORDER BY id LIMIT 100", 0):
            for missing in self._gap(offset, row[0]):
                yield missing, None
            yield row[0], self._item(*row)
            offset = row[0] + 1

    def inputs(self, after: int) -> Iterator[tuple[int, Input | None, bool]]:
        """Every input with an id above `after`, None in the place of one that has gone or tells nothing, and whether it
        is sound. Raises JournalCorruptError as `items` does.
        """
        number = after + 1
        for row in self._each("SELECT * FROM inputs WHERE id > ? ORDER BY id LIMIT 100", after):
            for missing in self._gap(number, row[0]):
                yield missing, None, False
            yield row[0], *journalrows.try_input(row)
            number = row[0] + 1

    def _item(self, offset: Any, body: Any, crc: Any) -> Item | None:
        with journalfile.named(self._path):
            try:
                return itemcodec.decode(journalrows.check(offset, body, crc), self._layouts.names)
            except (ProtocolError, TypeError, UnicodeDecodeError):
                return None

    def _each(self, query: str, after: int) -> Iterator[tuple[Any, ...]]:
        while True:
            with journalfile.named(self._path):
                rows = self._connection.execute(query, (after,)).fetchall()
            if not rows:
                return
            yield from rows
            with journalfile.named(self._path):
                if not rows[-1][0] > after:  # or it would go round for ever
                    raise ProtocolError(f"rows are out of order after {after}")
            after = rows[-1][0]

    def _gap(self, expected: int, found: int) -> range:
        """The ids of the rows that have gone before one that was found."""
        with journalfile.named(self._path):
            if found - expected > MOST_GONE:
                raise ProtocolError(f"{found - expected} rows are missing before row {found}")
        return range(expected, found)

    def put(
        self,
        inputs: Mapping[int, Input] | None = None,
        items: Mapping[int, Item] | None = None,
        streams: Iterable[Stream] = (),
    ) -> None:
        """Other rows in the places of spoiled ones, by their numbers. Raises JournalError, OSError."""
        with journalfile.named(self._path):
            self._put(inputs or {}, items or {}, streams)

    def _put(self, inputs: Mapping[int, Input], items: Mapping[int, Item], streams: Iterable[Stream]) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            for number, entry in inputs.items():
                execute(journalrows.PUT_INPUT, journalrows.input_row(number, entry))
            for offset, item in items.items():
                body = itemcodec.encode(item, self._layouts.number)
                execute(journalrows.PUT["items"], journalrows.row(offset, body))
            for stream in streams:
                execute(journalrows.PUT["streams"], journalrows.row(stream.id, journalrows.pack_stream(stream)))
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            self._layouts.reload()
            raise
