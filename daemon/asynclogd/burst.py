"""Token buckets of a rate limit's series: a few points may come faster than the rate. Pure: times are the points' own.

Each series has up to `burst` tokens, which come back at the steady rate. A point that finds one goes out at once and
takes it. One that finds none is shaped with the others of its bucket of time (ratelimit.py). That uses up what the rate
gives until the bucket ends, and until then no point of the series passes by itself: a series keeps its order.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclog_proto.errors import ProtocolError
from asynclogd.rates import Rate

STATE = np.dtype([("tokens", "<f8"), ("filled", "<f8"), ("out", "<f8"), ("shaped_in", "<f8")])
"""Of one series: tokens at the time `filled`, when its last point came, and the bucket in which it was shaped last."""

SET_BACK = 3600.0
"""s: a point that is so much too early tells that the clock was set back; less may be a straggler"""

_LONG_AGO = -1e100
"""s: before any point; finite, for infinities have no difference"""


class Tokens:
    """The series under one rule; `length` is that of its buckets of time, in s."""

    def __init__(self, rate: Rate, length: float) -> None:
        self._rate, self._length = rate, length
        self._back = 2 * length + SET_BACK
        self._slots: dict[str, int] = {}
        self._state = np.empty(0, STATE)
        self._now = _LONG_AGO

    def passing(
        self, names: list[str], times: NDArray[np.float64], buckets: NDArray[np.float64], finite: NDArray[np.bool_]
    ) -> NDArray[np.bool_]:
        """Which cells of a table (k steps x m names) go out at once; `buckets` are those of the steps, and what is not
        `finite` takes no part.
        """
        slots = np.array([self._slot(name) for name in names], np.intp)
        state = self._state[slots]
        passing = np.zeros(finite.shape, bool)
        for row, (time, bucket) in enumerate(zip(times.tolist(), buckets.tolist(), strict=True)):
            if math.isfinite(time):
                self._fill(state, time)
                rested = time - state["out"] >= self._rate.min_interval
                passing[row] = finite[row] & rested & (state["tokens"] >= 1) & (state["shaped_in"] != bucket)
            self._take(state, passing[row], finite[row] & ~passing[row], time, bucket)
        self._state[slots] = state
        return passing

    def state(self) -> list[Any]:
        """For `restore`: the series that lack tokens by now, or have to rest."""
        state = self._state.copy()  # filled here and there instead, the sums would round in another way
        self._fill(state, self._now)
        rested = self._now - state["out"] >= self._rate.min_interval
        lacking = (state["tokens"] < self._rate.burst) | ~rested
        names = [name for name, slot in self._slots.items() if lacking[slot]]
        rows = self._state[[self._slots[name] for name in names]]
        return [names, self._now, rows.tobytes()]

    def restore(self, state: list[Any]) -> None:
        """Go on from a state. Raises ProtocolError."""
        try:
            names, self._now, rows = state
            self._state = np.frombuffer(rows, STATE).copy()
        except (ValueError, TypeError) as error:
            raise ProtocolError(f"not the state of token buckets: {error}") from error
        self._slots = {name: slot for slot, name in enumerate(names)}
        if len(self._slots) != len(self._state):
            raise ProtocolError("a token bucket has no name")

    def _slot(self, name: str) -> int:
        slot = self._slots.get(name)
        if slot is None:
            slot = self._slots[name] = len(self._slots)
            fresh = np.array([(self._rate.burst, _LONG_AGO, _LONG_AGO, np.nan)], STATE)
            self._state = np.concatenate([self._state, fresh])
        return slot

    def _fill(self, state: NDArray[Any], time: float) -> None:
        set_back = state["filled"] > time + self._back
        state["filled"][set_back] = state["out"][set_back] = time
        with np.errstate(over="ignore"):  # beyond all measure is long enough
            passed = np.maximum(0.0, time - state["filled"]) * self._rate.steady
        state["tokens"] = np.minimum(self._rate.burst, state["tokens"] + passed)
        state["filled"] = np.maximum(state["filled"], time)
        self._now = time if time < self._now - self._back else max(self._now, time)

    def _take(
        self, state: NDArray[Any], passed: NDArray[np.bool_], shaped: NDArray[np.bool_], time: float, bucket: float
    ) -> None:
        state["tokens"][passed] -= 1
        state["out"][passed | shaped] = time if math.isfinite(time) else _LONG_AGO
        state["tokens"][shaped] = 0
        state["shaped_in"][shaped] = bucket
        state["filled"][shaped] = np.maximum(state["filled"][shaped], (bucket + 1) * self._length)
