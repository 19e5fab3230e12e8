"""The distinct names that a run's ranks log: as many as may be, and no more. Part of a run's state, and so a function
of its inputs: how many may be is told by each JOIN.

Each name is kept for the run's life, here and in the journal. A training that makes a new one at every step would have
the daemon's memory grow without end: beyond the cap, values of further names are dropped and counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from asynclogd.rows import Rows

FULL = "names_full"
"""The cause of values whose name was one too many."""

MOST = 1_000_000


class Names:
    """`most` may change: what is known stays."""

    def __init__(self, most: int = MOST) -> None:
        self.most = most
        self.dropped = 0
        """values that were dropped for their names"""
        self.excess = ""
        """the first name that was one too many, "" while there was none"""
        self._known: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self._known)

    @property
    def refused(self) -> str:
        """A name that was one too many, "" while there is room."""
        return self.excess if len(self._known) >= self.most else ""

    def takes(self, name: str) -> bool:
        """Whether a name is known, or there is room: then it is known from now on."""
        if name in self._known:
            return True
        if len(self._known) >= self.most:
            self.excess = self.excess or name
            return False
        self._known[name] = None
        return True

    def note(self, names: Iterable[str]) -> None:
        """Rows of these names are to come."""
        for name in names:
            if not self.takes(name):
                return

    def of(self, rows: Rows) -> Rows | None:
        """Rows of names that were noted, as far as those are known; None where nothing is left of them."""
        if not self.excess:  # every name that was noted is known
            return rows
        kept = np.flatnonzero([self.takes(name) for name in rows.names])
        if len(kept) == len(rows.names):
            return rows
        self.dropped += len(rows.steps) * (len(rows.names) - len(kept))
        return rows.columns(kept) if len(kept) else None

    def fields(self) -> list[Any]:
        """All of it as plain values, for `read`."""
        return [self.most, self.dropped, self.excess, list(self._known)]

    @classmethod
    def read(cls, fields: list[Any]) -> Names:
        """What `fields` was called on."""
        most, dropped, excess, known = fields
        names = cls(most)
        names.dropped, names.excess, names._known = dropped, excess, dict.fromkeys(known)
        return names
