"""The names of a run's series in its journal: each name once, each layout (an ordered tuple of names) as numbers."""

from __future__ import annotations

import sqlite3
from collections import OrderedDict

import google_crc32c
import numpy as np

from asynclog_proto.errors import ProtocolError

CACHED_NAMES = 1 << 20
"""Names in all cached layouts together. A layout that has left the cache is stored again under a new number,
so that memory has a bound even when every step logs another set of names."""


class Layouts:
    """Numbers layouts for `itemcodec`. Writes happen inside the transaction that the journal has open."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.reload()

    def reload(self) -> None:
        """Forget everything that is not in the file: after a rollback."""
        rows = self._connection.execute("SELECT name FROM names ORDER BY id")
        self._names = [name for (name,) in rows]
        self._ids = {name: number for number, name in enumerate(self._names)}
        (last,) = self._connection.execute("SELECT coalesce(max(id), 0) FROM layouts").fetchone()
        self._last = int(last)
        self._numbers: OrderedDict[tuple[str, ...], int] = OrderedDict()
        self._layouts: OrderedDict[int, tuple[str, ...]] = OrderedDict()
        self._cached = 0

    def number(self, names: tuple[str, ...]) -> int:
        """The number of a layout; a new one is stored."""
        known = self._numbers.get(names)
        if known is not None:
            self._numbers.move_to_end(names)
            return known
        ids = np.fromiter((self._id(name) for name in names), "<u4", len(names))
        self._last += 1
        self._connection.execute(
            "INSERT INTO layouts (id, series, crc) VALUES (?, ?, ?)",
            (self._last, ids.tobytes(), _checksum(names)),
        )
        self._remember(self._last, names)
        return self._last

    def names(self, number: int) -> tuple[str, ...]:
        """The layout of a number. Raises ProtocolError when there is none, or its names have changed."""
        known = self._layouts.get(number)
        if known is not None:
            return known
        row = self._connection.execute("SELECT series, crc FROM layouts WHERE id = ?", (number,)).fetchone()
        if row is None or not isinstance(row[0], bytes) or len(row[0]) % 4:
            raise ProtocolError(f"there is no layout {number}")
        ids = np.frombuffer(row[0], "<u4").tolist()
        if any(i >= len(self._names) for i in ids):
            raise ProtocolError(f"layout {number} has names that are not there")
        names = tuple(self._names[i] for i in ids)
        if _checksum(names) != row[1]:
            raise ProtocolError(f"the checksum of layout {number} is wrong")
        self._remember(number, names)
        return names

    def _id(self, name: str) -> int:
        number = self._ids.get(name)
        if number is None:
            number = self._ids[name] = len(self._names)
            self._names.append(name)
            self._connection.execute("INSERT INTO names (id, name) VALUES (?, ?)", (number, name))
        return number

    def _remember(self, number: int, names: tuple[str, ...]) -> None:
        self._numbers[names] = number
        self._layouts[number] = names
        self._cached += len(names)
        while self._cached > CACHED_NAMES and len(self._layouts) > 1:
            oldest, dropped = self._layouts.popitem(last=False)
            self._cached -= len(dropped)
            if self._numbers.get(dropped) == oldest:
                del self._numbers[dropped]


def _checksum(names: tuple[str, ...]) -> int:
    return int(google_crc32c.value("\0".join(names).encode()))
