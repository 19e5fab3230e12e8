"""The end of a run: what `finish` asked for, and when there is nothing more to wait for. Pure."""

from __future__ import annotations

from asynclog.launcher import PATIENCE_S, Launcher
from asynclog.stream import Stream

FAILED_PATIENCE_S = 1.0
"""A run that failed does not wait for other ranks, which may be blocked by this one: journaled is enough."""

RESERVE_S = 1.0
"""So long before the deadline devices are given up, and the rest is told without them."""


class Ending:
    """`finish` was called at `since`: with this status, and until `deadline`, both in monotonic seconds."""

    def __init__(self, status: str, deadline: float, since: float) -> None:
        self.status = status
        self.deadline = deadline
        self.said = False
        """the END record is written, or there is no more time for it"""
        self._since = since
        self._acked_since: float | None = None

    def is_near(self, now: float) -> bool:
        """Whether the deadline is."""
        return now >= self.deadline - RESERVE_S

    def is_over(self, now: float, stream: Stream, launcher: Launcher | None) -> bool:
        """Whether nothing more will come of waiting."""
        if not self.said:
            return False
        if launcher is None or stream.finished or stream.refused is not None or now >= self.deadline:
            return True
        if self.status != "success" and not stream.flow.queue and self._all_acked_for(now) > FAILED_PATIENCE_S:
            return True
        return not stream.flow.open and now - max(launcher.last_sign, self._since) > PATIENCE_S

    def _all_acked_for(self, now: float) -> float:
        """Seconds since everything, END included, is journaled."""
        if self._acked_since is None:
            self._acked_since = now
        return now - self._acked_since
