"""The option `delivery` of a backend: how often and how much at a time its sink sends, and how patient it is.

delivery = { flush_interval = 10, batch_kb = 256, longest_retry = 120, timeout = 60 }
"""

from __future__ import annotations

import math
from typing import Annotated

import msgspec

from asynclogd.delivery import SinkSettings

ALLOWED = "flush_interval, first_retry, longest_retry, timeout in seconds, batch_kb, points_per_second"

Seconds = Annotated[float, msgspec.Meta(ge=0, le=86_400)]
Wait = Annotated[float, msgspec.Meta(gt=0, le=86_400)]


class Delivery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times in seconds."""

    flush_interval: Seconds | None = None
    """items wait at most so long for others to share a write and a flush; finish() does not wait for it"""
    batch_kb: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 1024
    """KiB of items in a write, about"""
    first_retry: Wait = 0.2
    longest_retry: Wait = 30.0
    points_per_second: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """of all series together: those that are too many wait"""
    timeout: Wait = 300.0
    """a call of the backend that takes longer is told of as one that hangs"""

    def settings(self, flush_interval: float, points_per_second: float = math.inf) -> SinkSettings:
        """The sink's, with the arguments where nothing is given."""
        return SinkSettings(
            flush_interval=flush_interval if self.flush_interval is None else self.flush_interval,
            batch_bytes=self.batch_kb << 10,
            first_retry=self.first_retry,
            longest_retry=max(self.first_retry, self.longest_retry),
            points_per_second=points_per_second if self.points_per_second is None else self.points_per_second,
            timeout=self.timeout,
        )
