"""What a sink's rate limit holds back, and when that is to go out without an item that follows it."""

from __future__ import annotations

import sys
import time

from asynclog_proto.errors import ProtocolError
from asynclogd.delivery import Limiter
from asynclogd.entries import Cursor

_NOTHING, _ALL = float("-inf"), float("inf")


class Holding:
    """The sink's thread calls; `whole` is for any thread."""

    def __init__(self, limiter: Limiter, cursor: Cursor, quiet: float) -> None:
        """`quiet`: after so many s without an item, what is held goes out as soon as it is due."""
        self._limiter, self._quiet = limiter, quiet
        self._came = time.monotonic()
        self._due, self._over = _ALL, _ALL
        """when the limiter has something to go out, by the rows' clock and by the monotonic one"""
        self.whole = sys.maxsize if _held_nothing(limiter, cursor) else 0
        """of the items up to this one nothing is held; endless while nothing is held at all"""

    def came(self) -> None:
        """There was an item."""
        self._came = time.monotonic()

    def settling(self, before: int) -> None:
        """What follows the item `before` is about to be journaled as delivered, or held."""
        self.whole = min(self.whole, before) if self._limiter.held else sys.maxsize

    def rest(self, hurry: int, read: int) -> float:
        """In how many s something is to go out when no item comes; infinite for never. `hurry` is the last item that
        someone waits for, and `read` the last one that was offered.
        """
        if self._is_awaited(hurry, read):
            return 0.0
        if (due := self._limiter.due) != self._due:  # looked at once: the clock may be set meanwhile, or was just now
            self._due = due
            self._over = time.monotonic() + min(due - time.time(), self._limiter.patience)
        return max(self._over, self._came + self._quiet) - time.monotonic()

    def until(self, hurry: int, read: int, last: int) -> float:
        """What is to go out now is what is due until then, in s since the epoch. `last` is the newest item."""
        if self._is_awaited(hurry, read):
            return _ALL
        return max(time.time(), self._limiter.due) if last <= read and self.rest(hurry, read) <= 0 else _NOTHING

    def _is_awaited(self, hurry: int, read: int) -> bool:
        return self.whole < hurry <= read and self._limiter.held > 0


def _held_nothing(limiter: Limiter, cursor: Cursor) -> bool:
    """Whether the rate limit held nothing when the cursor was journaled."""
    try:
        limiter.restore(cursor.limiter)
    except ProtocolError:  # which opening the backend will tell
        return False
    return not limiter.held
