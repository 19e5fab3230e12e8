"""Items that a backend has refused, and those of which one was: they are offered one by one, until it is known which.

No thread, no clock: the sink tells what happened.
"""

from __future__ import annotations

from asynclogd.refusals import Refusals, RefusedError


class Suspects:
    """What is known of a backend's refusals."""

    def __init__(self) -> None:
        self.refusals: Refusals = {}
        self._offsets: set[int] = set()
        self._range = range(0)

    def __bool__(self) -> bool:
        return bool(self._offsets or self._range)

    def __contains__(self, offset: int) -> bool:
        """Whether an item is to be offered by itself."""
        return offset in self._range or offset in self._offsets

    def between(self, after: int, last: int) -> None:
        """One of the items after `after` up to `last` is refused."""
        self._range = range(after + 1, last + 1)

    def add(self, refused: RefusedError) -> None:
        """It is this one."""
        self.refusals.setdefault(refused.key, []).append(refused.refusal)
        self._offsets.add(refused.key[0])

    def passed(self, offset: int, *, may_come_again: bool) -> None:
        """The cursor is at `offset`. What it has passed is forgotten, unless a backend may start over: then each item
        would have to be found again.
        """
        if offset + 1 >= self._range.stop:
            self._range = range(0)
        if not may_come_again and self._offsets:
            self.refusals = {key: found for key, found in self.refusals.items() if key[0] > offset}
            self._offsets = {refused for refused, _ in self.refusals}
