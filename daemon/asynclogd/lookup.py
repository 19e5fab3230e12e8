"""Finds the first value of a series at a step among a run's items, wherever in the journal they are.

The journal is in the order of closing, not of steps; so for each block of items the lowest and the highest step are
known. Items that were journaled before this daemon opened the run are read for that once, when somebody first asks.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator

import numpy as np

from asynclogd.points import Item, Points

BLOCK = 64
"""Items of which the range of steps is known together."""

READ_BYTES = 4 << 20

Read = Callable[[int, int], Awaitable[list[tuple[int, Item]]]]
"""(after, max_bytes) to items in order, at least one where there is one"""


class Lookup:
    """The blocks of one run. `append` and `first` are called on the event loop, `first` by one task at a time."""

    def __init__(self, read: Read, last_offset: int) -> None:
        self.newest = last_offset
        self._read = read
        self._unread = last_offset
        """items up to this offset have yet to be read for their steps"""
        self._blocks: dict[int, tuple[int, int]] = {}

    def append(self, items: Iterable[tuple[int, Item]]) -> None:
        """Items were journaled."""
        for offset, item in items:
            self._note(offset, item)
            self.newest = offset

    async def first(self, name: str, step: int, generation: int, after: int) -> float | None:
        """The value of the first point of a series at a step, None when no item after offset `after` has one.

        When it is None, that is so for all items up to `newest` as it is on return.
        """
        await self._read_earlier()
        while after < self.newest:
            newest = self.newest
            for begin, end in list(self._places(step, after, newest)):
                value = await self._first_in(begin, end, name, step, generation)
                if value is not None:
                    return value
            after = newest
        return None

    def _note(self, offset: int, item: Item) -> None:
        if not isinstance(item, Points) or not len(item.steps):
            return
        low, high = int(item.steps.min()), int(item.steps.max())
        known = self._blocks.get(offset // BLOCK, (low, high))
        self._blocks[offset // BLOCK] = min(low, known[0]), max(high, known[1])

    async def _read_earlier(self) -> None:
        after = 0
        while after < self._unread:
            for offset, item in await self._some(after):
                if offset <= self._unread:
                    self._note(offset, item)
                after = offset
        self._unread = 0

    def _places(self, step: int, after: int, newest: int) -> Iterator[tuple[int, int]]:
        """Offsets (first, last) between which the step may be, in order."""
        for block in range((after + 1) // BLOCK, newest // BLOCK + 1):
            low, high = self._blocks.get(block, (1, 0))
            if low <= step <= high:
                yield max(after + 1, block * BLOCK), min(newest, block * BLOCK + BLOCK - 1)

    async def _first_in(self, begin: int, end: int, name: str, step: int, generation: int) -> float | None:
        while begin <= end:
            for offset, item in await self._some(begin - 1):
                if offset > end:
                    return None
                value = value_in(item, name, step, generation)
                if value is not None:
                    return value
                begin = offset + 1
        return None

    async def _some(self, after: int) -> list[tuple[int, Item]]:
        items = await self._read(after, READ_BYTES)
        if not items:
            raise LookupError(f"item {after + 1} can't be read")
        return items


def value_in(item: Item, name: str, step: int, generation: int) -> float | None:
    """The first value of a series at a step in one item."""
    if not isinstance(item, Points) or item.generation != generation:
        return None
    rows = np.flatnonzero(item.steps == step)
    if not len(rows) or name not in item.names:
        return None
    return float(item.values[rows[0], item.names.index(name)])
