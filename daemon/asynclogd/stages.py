"""How long the stages of the daemon take: of each the last calls, for quantiles, and the sum of all of them."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping

import numpy as np

KEPT = 512
"""Calls of a stage whose times are kept: 2 KB, as there may be thousands of stages."""


class Stage:
    """One thread adds, any thread looks. A call costs some 200 ns, so it is for what is done once a batch."""

    __slots__ = ("_last", "calls", "total")

    def __init__(self) -> None:
        self.calls, self.total = 0, 0.0
        self._last = array("f")

    def add(self, seconds: float) -> None:
        """It was done once more, and took so long."""
        if self.calls < KEPT:
            self._last.append(seconds)
        else:
            self._last[self.calls % KEPT] = seconds
        self.calls += 1
        self.total += seconds

    def summary(self) -> dict[str, float]:
        """`calls` and `total_s` of all calls, `p50_s` and `p99_s` of the last KEPT; there has to be one."""
        last = np.sort(np.frombuffer(self._last.tobytes(), np.float32))
        middle, high = (float(last[math.ceil(share * len(last)) - 1]) for share in (0.5, 0.99))
        return {
            "calls": self.calls,
            "total_s": round(self.total, 6),
            "p50_s": round(middle, 7),
            "p99_s": round(high, 7),
        }


def summaries(stages: Mapping[str, Stage]) -> dict[str, dict[str, float]]:
    """Those that have been called, by name."""
    return {name: stage.summary() for name, stage in list(stages.items()) if stage.calls}
