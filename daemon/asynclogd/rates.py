"""The option `rate_limit` of a backend: how many points of each series it is shown, by patterns of names.

rate_limit = 10                                             # every series: 10 points a second
rate_limit = { "train/*" = 1, "grad/*" = 0, "*" = inf }     # the first pattern that matches counts; 0 shows nothing
rate_limit = { "train/*" = { points_per_second = 1, burst = 60, min_interval = 0.1 } }
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import msgspec

from asynclog_proto.errors import ConfigError

ALLOWED = "points a second, or a table of pattern = points a second, or = {points_per_second, burst, min_interval}"

Count = Annotated[int, msgspec.Meta(ge=0)]
Least = Annotated[float, msgspec.Meta(ge=0)]


class Rate(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a series may have, in the points' own time. Nothing said is no limit."""

    points_per_second: Least = float("inf")
    """0 shows nothing at all"""
    burst: Count = 0
    """so many points may come faster, and are saved up again at `points_per_second`: a token bucket"""
    min_interval: Least = 0.0
    """s between two points; of those that come sooner the shape is kept, as of any that are too many"""

    @property
    def steady(self) -> float:
        """Points a second that both allow."""
        return min(self.points_per_second, 1 / self.min_interval if self.min_interval else float("inf"))


def parse(given: object, defaults: Mapping[str, float] | None = None) -> dict[str, Rate]:
    """The option's value, then the service's own `defaults` for patterns that it does not name. Raises ConfigError."""
    if not isinstance(given, Mapping):
        given = {"*": given}
    own = {str(pattern): _rate(str(pattern), value) for pattern, value in given.items()}
    return own | {pattern: Rate(rate) for pattern, rate in (defaults or {}).items() if pattern not in own}


def _rate(pattern: str, value: Any) -> Rate:
    if isinstance(value, Rate):
        return value
    try:
        if not isinstance(value, Mapping):
            value = {"points_per_second": value}
        rate = msgspec.convert(dict(value), Rate, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        what, _, key = str(error).partition(" - at `$.")
        raise ConfigError(f"{pattern!r}: {key.rstrip('`') or 'it'}: {what}") from error
    if rate.burst and rate.steady == float("inf"):
        raise ConfigError(f"{pattern!r}: a burst without points_per_second or min_interval limits nothing")
    return rate
