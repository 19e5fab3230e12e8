"""What is known of rows' names, by what their tuple is rather than by what is in it."""

from __future__ import annotations

from typing import Generic, TypeVar

Value = TypeVar("Value")

MOST_NAMES = 2 << 20
OVERHEAD = 16
"""What an entry takes, in names."""


class Seen(Generic[Value]):
    """Values by tuples of names that come again as the same objects: a rank's layout is one in all its batches.

    Python hashes a tuple anew at each look into a dict, and compares all of it with what it finds: for thousands of
    names that takes longer than reducing a row of them. When this is full it forgets all, and is filled anew.
    """

    def __init__(self, most: int | None = None) -> None:
        """For `most` tuples, where names alone do not bound it."""
        self._most = most
        self._found: dict[int, tuple[tuple[str, ...], Value]] = {}
        """with the tuple, which is kept alive lest another one gets its identity"""
        self._names = 0

    def get(self, names: tuple[str, ...]) -> Value | None:
        """The value of this very tuple; None when it was not put, or is forgotten."""
        found = self._found.get(id(names))
        return None if found is None else found[1]

    def put(self, names: tuple[str, ...], value: Value) -> None:
        """Remember the value."""
        if self._names + len(names) > MOST_NAMES or len(self._found) == self._most:
            self.clear()
        self._found[id(names)] = names, value
        self._names += len(names) + OVERHEAD

    def clear(self) -> None:
        """Forget all."""
        self._found.clear()
        self._names = 0
