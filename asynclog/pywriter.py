"""The writing end of a ring, in Python: what `_writer.c` does where it could not be compiled, at ten times its cost.

A row here is made under the run's lock, for Python may switch threads and run signal handlers anywhere.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable, Mapping
from time import perf_counter, time
from typing import Any

from asynclog.layouts import Packed, tail_for
from asynclog.values import EXACT, FLOATS, MAX_FLOAT, PLAIN
from asynclog_proto.ringfile import HEAD

SPREAD = 8
"""Of the first calls after `take_time`, so many in all take turns to be timed: the first finds a cold cache."""

_HEAD_WORD = HEAD // 8
_MOST_STEP = (1 << 63) - 1


class Writer:
    """Positions in the ring and steps of its rows, and `log`, the call of `Run.log` that has to be fast.

    `file` is the whole ring, writable, and `start` the size of its header. A row goes to `place` when it ends
    by `limit`; `base + place` is the position of the head, `seq` the number of the next record. `wanted` is the size of
    the last row if only room was missing, else 0. Whoever writes in another way holds `lock` and is `busy`
    meanwhile; `held` says that calls wait which came from inside another. The first row while the sender is `asleep`
    calls `wake`. `layouts` are Layouts.ready; `slow(metrics, step, reduce, weight)` takes the calls that are not for
    here.
    """

    def __init__(self, file: mmap.mmap, start: int) -> None:
        self.base = -start
        self.place = start
        self.limit = start
        self.seq = 0
        self.issued = 0
        self.step = -1
        self.highest = -1
        self.backward = 0
        self.wanted = 0
        self.busy = False
        self.held = False
        self.asleep = False
        self.layouts: dict[tuple[str, ...], Packed] = {}
        self.slow: Callable[[Any, Any, Any, Any], None] = _no_way
        self.wake: Callable[[], None] = lambda: None
        self.lock = threading.RLock()
        self._due = 0
        self._turn = 0
        self._took: float | None = None
        self._data = memoryview(file)
        self._words = self._data[:start].cast("Q")

    def log(
        self, metrics: Mapping[str, Any], step: int | None = None, *, reduce: Any = None, weight: float | None = None
    ) -> None:
        """`Run.log`."""
        if self._due > 0:  # two threads may take it below
            self._due -= 1
            if not self._due:
                self._log_timed(metrics, step, reduce, weight)
                return
        self._log(metrics, step, reduce, weight)

    def take_time(self) -> float | None:
        """How long a call of `log` took, in s, since this was asked last; None when none was timed. One of the next
        SPREAD calls is.
        """
        took, self._took = self._took, None
        if not self._due:
            self._turn = self._turn % SPREAD + 1
            self._due = self._turn
        return took

    def _log_timed(self, metrics: Any, step: Any, reduce: Any, weight: Any) -> None:
        began = perf_counter()
        try:
            self._log(metrics, step, reduce, weight)
        finally:
            self._took = perf_counter() - began

    def _log(self, metrics: Any, step: Any, reduce: Any, weight: Any) -> None:
        if reduce is None:
            with self.lock:
                if not self.busy and not self.held:
                    try:  # an exception of a signal's may come after any line: `busy` is set within
                        self.busy = True
                        if self.write(metrics, step, weight):
                            return
                    finally:
                        self.busy = False
        self.slow(metrics, step, reduce, weight)

    def write(self, metrics: Any, step: Any, weight: Any) -> bool:
        """Write a row of plain numbers by names that have a layout, where there is room; False, and nothing done,
        otherwise. The caller is the only writer.
        """
        self.wanted = 0
        try:
            packed = self.layouts.get(tuple(metrics))
            values = metrics.values()
            if packed is None or not _are_plain(values):
                return False
        except Exception:
            return False  # the careful way tells what is wrong
        if step is None:
            step = self.step + 1
        pack_into, head, tail, size, width = packed
        # The first step that goes back is told of, by others.
        lowest = -_MOST_STEP - 1 if self.backward else self.highest
        if type(step) is not int or not lowest <= step <= _MOST_STEP or not _is_weight(weight):
            return False
        if weight is not None:
            tail = tail_for(weight, width)
        end = self.place + size
        if end > self.limit:
            self.wanted = size
            return False
        try:
            pack_into(self._data, self.place, head, step, b"\xcb", time(), tail, *values)
        except Exception:
            return False  # a mapping with other values than it has names
        # No call from here on: neither a signal nor another thread comes between. A tracer may, between lines.
        back = step < self.highest
        self.step, self.highest, self.backward = step, self.highest if back else step, self.backward + back
        self.place, self.seq, self.issued = end, self.seq + 1, self.issued + width
        self._words[_HEAD_WORD] = self.base + end
        if self.asleep:
            self.asleep = False
            self.wake()
        return True

    def release(self) -> None:
        """Let go of `file`."""
        self._words.release()
        self._data.release()


def _is_weight(given: Any) -> bool:
    return given is None or (type(given) is float and 0.0 < given <= MAX_FLOAT)


def _are_plain(values: Any) -> bool:
    """Floats, and integers that are float64 numbers. Beside NaN or inf these may be refused: slower, and as right."""
    if FLOATS.issuperset(map(type, values)):
        return True
    return PLAIN.issuperset(map(type, values)) and max(map(abs, values)) <= EXACT


def _no_way(metrics: Any, step: Any, reduce: Any, weight: Any) -> None:  # noqa: ARG001 - the signature is `slow`'s
    raise RuntimeError("this writer has no slow way yet")
