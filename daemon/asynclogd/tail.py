"""A run's newest items in memory, for all of its sinks."""

from __future__ import annotations

import threading
from collections.abc import Callable

from asynclogd.points import Item, Media, Points

TAIL_BYTES = 16 << 20

ReadItems = Callable[[int, int], list[tuple[int, Item]]]


class TailLog:
    """A run's items in one order: the newest in memory, up to a cap in bytes, older ones read from elsewhere.

    `read_older(after, max_bytes)` is called from whichever thread reads, and may block.
    """

    def __init__(self, read_older: ReadItems, last_offset: int, max_bytes: int = TAIL_BYTES) -> None:
        self._read_older = read_older
        self._last = last_offset
        self._first = last_offset + 1
        self._kept: dict[int, tuple[Item, int]] = {}
        self._bytes = 0
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    @property
    def last_offset(self) -> int:
        """The offset of the newest item, 0 when there is none."""
        return self._last

    @property
    def bytes_used(self) -> int:
        """Bytes of the items in memory, about."""
        return self._bytes

    def append(self, offset: int, item: Item) -> None:
        """Add the next item. It has to be readable from elsewhere already: it may leave memory at once."""
        if offset != self._last + 1:
            raise ValueError(f"item {offset} cannot follow item {self._last}")
        size = item_bytes(item)
        with self._lock:
            self._kept[offset] = item, size
            self._bytes += size
            self._last = offset
            while self._bytes > self._max_bytes:
                self._bytes -= self._kept.pop(self._first)[1]
                self._first += 1

    def read(self, after: int, max_bytes: int) -> list[tuple[int, Item]]:
        """(offset, item) of the items after `after`: about `max_bytes` of them, at least one if there is one."""
        with self._lock:
            if after >= self._last:
                return []
            if after + 1 >= self._first:
                return self._read_kept(after, max_bytes)
        return self._read_older(after, max_bytes)

    def recent(self, after: int, max_bytes: int) -> list[tuple[int, Item]] | None:
        """The same where they are in memory, else None; never blocks."""
        with self._lock:
            return self._read_kept(after, max_bytes) if self._first <= after + 1 <= self._last else None

    def _read_kept(self, after: int, max_bytes: int) -> list[tuple[int, Item]]:
        taken: list[tuple[int, Item]] = []
        for offset in range(after + 1, self._last + 1):
            item, size = self._kept[offset]
            max_bytes -= size
            if taken and max_bytes < 0:
                break
            taken.append((offset, item))
        return taken


def item_bytes(item: Item) -> int:
    """What an item takes in memory, about."""
    if isinstance(item, Points):
        tables = (item.steps, item.times, item.values, item.ranks, item.logged, item.holders)
        return 200 + sum(table.nbytes for table in tables if table is not None)
    values = item.options if isinstance(item, Media) else getattr(item, "values", {})
    return 200 + sum(100 + len(name) + len(str(value)) for name, value in values.items())
