"""How often something is looked at: soon again while anything stirs, seldom in silence. Pure."""

from __future__ import annotations

from asynclog_proto.beats import next_beat

SILENT_SECONDS = 2.0
"""From look to look in silence, every other time at the moment at which ranks say that they live: what an idle daemon
costs is to be woken."""


class Lookout:
    """`quick` seconds from look to look, doubled with each in silence up to SILENT_SECONDS."""

    def __init__(self, quick: float) -> None:
        self._quick = quick
        self._wait = quick

    def next_wait(self, now: float, *, stirred: bool) -> float:
        """Seconds from `now` (s, time.monotonic) to the next look; whether anything `stirred` since the last."""
        self._wait = self._quick if stirred else min(2 * self._wait, max(self._quick, SILENT_SECONDS))
        return next_beat(now, self._wait) - now
