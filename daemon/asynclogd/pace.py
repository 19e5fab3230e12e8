"""How much a sink sends: no more than its service takes (Quota) and, after that has said that it is too much, what
additive increase and multiplicative decrease leave (Pace).

A Pace counts bytes of items in one cycle (a cycle begins a flush interval after the one before). A 429 halves what the
cycle was sending; each cycle that sends something and goes well adds a fixed step; and once that is far beyond what a
cycle reads at once, nothing limits it any more. Pure: no clock, no thread.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

BURST_SECONDS = 5.0
"""A quota lets points of so many seconds through at once."""

VALUE_BYTES = 8
"""The least that a point takes in a batch."""


@dataclass(slots=True)
class Pace:
    """`window` is in bytes; a cycle sends one item even if that is larger."""

    batch_bytes: int
    window: float = math.inf

    @property
    def narrowed(self) -> bool:
        """Whether the service has said that it was too much, lately."""
        return self.window < math.inf

    def narrow(self, sent: float) -> None:
        """The service was throttled by a cycle that sent so much; nothing sent means that it still is."""
        tried = min(self.window, sent) if sent else self.window
        self.window = max(self.smallest, tried / 2) if tried < math.inf else math.inf

    def widen(self, sent: float) -> None:
        """A cycle that sent so much went well."""
        if sent:
            self.window += self.step
        if self.window >= self.widest:
            self.window = math.inf

    @property
    def smallest(self) -> float:
        """A row or two of an ordinary run."""
        return self.batch_bytes / 1024

    @property
    def step(self) -> float:
        """What one cycle adds: from the smallest, the pace of a whole batch is back after 16 cycles."""
        return self.batch_bytes / 16

    @property
    def widest(self) -> float:
        """From here on it is not limited."""
        return self.batch_bytes * 4


@dataclass(slots=True)
class Quota:
    """Points a second of all series together: a token bucket. A batch is sent whole, and what it takes beyond the
    tokens is waited for after it.
    """

    points_per_second: float
    due: float = field(default=-math.inf, init=False)
    """when the next batch may be sent, by the clock of `spend`"""
    _full: float = field(default=-math.inf, init=False)
    """when the bucket is full again"""

    @property
    def batch_bytes(self) -> float:
        """A batch of so many bytes has no more points than the bucket has tokens, but for one large item."""
        return self.points_per_second * BURST_SECONDS * VALUE_BYTES

    def spend(self, points: int, now: float) -> float:
        """So many were sent; `due`."""
        self._full = max(self._full, now) + points / self.points_per_second
        self.due = self._full - BURST_SECONDS
        return self.due
