"""Whether somebody has set the wall clock. Pure: the clocks are the caller's."""

from __future__ import annotations

SET_SECONDS = 1.0
"""A wall clock that has gone by so much more or less than the monotonic one was set, or the machine slept."""


class ClockSet:
    """`wall` in s since the epoch, `now` monotonic; from here on."""

    def __init__(self, wall: float, now: float) -> None:
        self._ahead = wall - now

    def since_begun(self, wall: float, now: float) -> bool:
        """Whether it was set since this was made, or `noticed` was called."""
        return abs(wall - now - self._ahead) > SET_SECONDS

    def noticed(self, wall: float, now: float) -> float:
        """By how many s it was set since that; 0 where it was not."""
        by, was_set = wall - now - self._ahead, self.since_begun(wall, now)
        self._ahead += by
        return by if was_set else 0.0
