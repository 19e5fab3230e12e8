"""What a service has taken, for one that can't tell what it is sent twice. After an error a backend is offered again
all since its last position: without this, a batch that is over the service's limit would begin anew each time.

It is known in this process's life alone: after a crash such a service is sent some things twice.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable

MOST = 200_000
"""Keys that are kept beside those since the last flush."""


class Taken:
    """Keys of what was taken, by the number of flushes before: a position that has the number can be gone back to."""

    def __init__(self) -> None:
        self.flushes = 0
        self._parts: dict[int, set[Hashable]] = {0: set()}

    def go_back(self, flushes: int) -> None:
        """The backend is open at a position: what was taken before it is not offered again, what came after may be."""
        kept = [keys for number, keys in self._parts.items() if number >= flushes]
        self.flushes, self._parts = flushes, {flushes: set().union(*kept)}

    def __contains__(self, key: Hashable) -> bool:
        return any(key in keys for keys in self._parts.values())

    def add(self, keys: Iterable[Hashable]) -> None:
        """These were taken just now."""
        self._parts[self.flushes].update(keys)

    def flush(self) -> int:
        """The number of a new position. The oldest that are more than can be kept are forgotten."""
        self.flushes += 1
        self._parts[self.flushes] = set()
        while len(self._parts) > 2 and sum(map(len, self._parts.values())) > MOST:
            del self._parts[min(self._parts)]
        return self.flushes
