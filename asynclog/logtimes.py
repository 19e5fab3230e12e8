"""What `log()` costs this rank: the times of some of its calls, one of each flush interval."""

from __future__ import annotations

import math
from array import array

KEPT = 512
"""Calls whose times are kept: those of the last minute or so, or of nine where flushes are a second apart."""


class LogTimes:
    """The sender's thread adds, any thread asks."""

    def __init__(self) -> None:
        self._last = array("d")
        self._calls = 0

    def add(self, seconds: float | None) -> None:
        """A call took so long; None when none was timed."""
        if seconds is None:
            return
        if self._calls < KEPT:
            self._last.append(seconds)
        else:
            self._last[self._calls % KEPT] = seconds
        self._calls += 1

    def quantiles(self) -> tuple[float | None, float | None]:
        """p50 and p99 in s, None before the first call."""
        last = sorted(memoryview(self._last.tobytes()).cast("d"))  # a copy that another thread can't change
        if not last:
            return None, None
        middle, high = (last[math.ceil(share * len(last)) - 1] for share in (0.5, 0.99))
        return middle, high
