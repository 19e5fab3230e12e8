"""How often a sender flushes: seldom while no core is idle, for what flushes cost is taken from the training then."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

MEMORY_S = 2.0
"""What was seen so long ago counts a third."""

_LOADAVG = Path("/proc/loadavg")


def runnable_threads() -> int:
    """Threads of this computer that run or would, the asking one among them; 0 where the system does not tell."""
    try:
        return int(_LOADAVG.read_bytes().split()[3].partition(b"/")[0])
    except (OSError, ValueError, IndexError):
        return 0


class Rhythm:
    """`calm_s` from flush to flush while a core is idle, `busy_s` while none is; all ranks of a machine at the same
    moments: what delays one rank of a step delays them all, and the daemon commits their batches together.
    """

    def __init__(
        self, calm_s: float, busy_s: float, cores: int, runnable: Callable[[], int] = runnable_threads
    ) -> None:
        self.busy = False
        self.calm_s = calm_s
        self._busy_s = busy_s
        self._cores = cores
        self._runnable = runnable
        self._mean = 0.0
        self._seen_at = -math.inf

    def next_flush(self, now: float, *, may_wait: bool) -> float:
        """The first moment after `now` (s, time.monotonic) for a flush; one that may not wait is due as if calm."""
        if self._busy_s > self.calm_s:
            self._look(now)
        return _multiple(now, self._busy_s if self.busy and may_wait else self.calm_s)

    def next_look(self, now: float) -> float:
        """The first moment after `now` for what is never put off."""
        return _multiple(now, self.calm_s)

    def _look(self, now: float) -> None:
        """Take one more sample. Between a core that is idle and half a thread that waits for one nothing changes."""
        share = -math.expm1((self._seen_at - now) / MEMORY_S) if self._seen_at > -math.inf else 0.0
        self._seen_at = now
        self._mean += share * (self._runnable() - self._mean)
        self.busy = self._mean > (self._cores if self.busy else self._cores + 0.5)


def _multiple(now: float, interval: float) -> float:
    return (now // interval + 1) * interval
