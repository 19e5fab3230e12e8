"""Moments that all processes of a machine share, so that it wakes once for all of them."""

from __future__ import annotations


def next_beat(now: float, interval: float) -> float:
    """The first multiple of `interval` after `now`, both in s of `time.monotonic()`, which is the machine's own."""
    beat = (now // interval + 1) * interval
    return beat if beat > now else beat + interval  # 1.0 // 0.1 is 9
