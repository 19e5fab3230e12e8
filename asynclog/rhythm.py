"""How often a sender flushes: seldom where cores are short, for there the training pays for a flush."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

from asynclog_proto.beats import next_beat

MEMORY_S = 2.0
"""What was seen so long ago counts a third."""

AT_ONCE = 2
"""Cores that a flush uses at once: the threads of sender and daemon take turns, but not strictly, and with one idle
core some of it runs on the training's.
"""

BUSY_BELOW, OF_ALL = 0.625, 0.1
"""Shares, of those and of all cores, that are idle at least while it is calm: many ranks flush at the same moment."""

CALM_ABOVE = 1.2
"""So many times as many make it calm again. Between the two nothing changes: a flush itself takes some of it."""

_UPTIME = Path("/proc/uptime")


def idle_seconds() -> float | None:
    """For how long this computer's cores have been idle since its start, together; None where the system does not tell.

    It is of the whole machine: what a container may use at most is not seen.
    """
    try:
        return float(_UPTIME.read_bytes().split()[1])
    except (OSError, ValueError, IndexError):
        return None


class Rhythm:
    """`calm_s` from flush to flush while cores are idle, `busy_s` while they are short; all ranks of a machine at the
    same moments: what delays one rank of a step delays them all, and the daemon commits their batches together.
    """

    def __init__(
        self, calm_s: float, busy_s: float, cores: int, idle: Callable[[], float | None] = idle_seconds
    ) -> None:
        self.busy = False
        self._calm_s = calm_s
        self._busy_s = busy_s
        self._idle = idle
        self._enough = max(BUSY_BELOW * min(cores, AT_ONCE), OF_ALL * cores)
        self._idle_cores = 2 * self._enough
        self._seen: tuple[float, float] | None = None
        """when it was looked last, and what there was to see"""

    def next_flush(self, now: float, *, may_wait: bool) -> float:
        """The first moment after `now` (s, time.monotonic) for a flush; one that may not wait is due as if calm."""
        if self._busy_s > self._calm_s:
            self._look(now)
        return next_beat(now, self._busy_s if self.busy and may_wait else self._calm_s)

    def next_look(self, now: float) -> float:
        """The first moment after `now` for what is never put off."""
        return next_beat(now, self._calm_s)

    def _look(self, now: float) -> None:
        idle = self._idle()
        if idle is None or (self._seen is not None and now - self._seen[0] < self._calm_s / 2):
            return
        if self._seen is not None:
            since, before = self._seen
            # No more than that, or a moment's pause on a machine with many cores would count for seconds.
            cores = min((idle - before) / (now - since), 2 * self._enough)
            self._idle_cores += -math.expm1((since - now) / MEMORY_S) * (cores - self._idle_cores)
        self._seen = now, idle
        self.busy = self._idle_cores < self._enough * (CALM_ABOVE if self.busy else 1)
