"""Which steps a table has room for: a slot a step, handed out in a circle so that steps in order lie in order."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from asynclogd.lanes import Origin

FREE, OPEN, KEPT = 0, 1, 2
"""A slot is free, or its step is open, or closed and kept so that late values can still be merged."""

NOWHERE = np.iinfo(np.int64).min
"""The mark of a rank that has come to no step yet."""

_FIRST_CAPACITY = 16
_LOOKS = 64

Index = Any
"""Slots as a slice where they follow each other, as an array of int64 else."""


class Slots:
    """The steps of one table. Arrays are (capacity,); `resized` tells the owner to move its own along."""

    def __init__(self, capacity: int = _FIRST_CAPACITY) -> None:
        self.capacity = capacity
        self.steps = np.zeros(capacity, np.int64)
        self.state = np.zeros(capacity, np.uint8)
        self.times = np.zeros(capacity)
        """when the last of the step's values was logged"""
        self.opened = np.zeros(capacity)
        """when the step's first value came in, by the daemon's clock"""
        self.marks = np.zeros(capacity, np.int64)
        """how far the rank was that gave it"""
        self.flushes = np.zeros(capacity, np.int64)
        """how often that rank had flushed"""
        self.of_step: dict[int, int] = {}
        self.kept: deque[int] = deque()
        self.head = 0
        self.open = 0
        self.oldest = np.inf
        """when the open step that came first came in"""
        self.lowest = 0
        """the lowest open step, while any is open"""
        self.horizon: int | None = None
        """the highest step that was closed and is not kept any more"""
        self._peak = 0
        self._looks = 0

    @property
    def used(self) -> int:
        """Slots that are open or kept."""
        return self.open + len(self.kept)

    def find(self, steps: NDArray[np.int64]) -> Index | None:
        """The slots of these steps where they follow each other and are all open, else None."""
        first = self.of_step.get(int(steps[0]))
        if first is None:
            return None
        slots = slice(first, first + len(steps))
        if np.array_equal(self.steps[slots], steps) and (self.state[slots] == OPEN).all():
            return slots
        return None

    def lookup(self, steps: NDArray[np.int64]) -> NDArray[np.int64]:
        """Each step's slot, -1 where it has none."""
        get = self.of_step.get
        return np.array([get(step, -1) for step in steps.tolist()], np.int64)

    def room(self, count: int) -> int:
        """The capacity at which `count` more slots fit."""
        if self.used + count <= self.capacity:
            return self.capacity
        return 1 << (5 * (self.used + count) // 4).bit_length()

    def open_steps(self, steps: NDArray[np.int64], origin: Origin) -> Index:
        """Open slots for steps that have none; there must be room."""
        now = origin.now
        slots = self._free(len(steps))
        self.steps[slots] = steps
        self.state[slots] = OPEN
        self.times[slots] = -np.inf
        self.opened[slots] = now
        self.marks[slots] = NOWHERE if origin.mark is None else origin.mark
        self.flushes[slots] = origin.flushes
        listed = range(slots.start, slots.stop) if isinstance(slots, slice) else slots.tolist()
        self.of_step.update(zip(steps.tolist(), listed, strict=True))
        lowest = int(steps.min())
        self.lowest = lowest if not self.open else min(self.lowest, lowest)
        self.oldest = min(self.oldest, now)
        self.open += len(steps)
        self._peak = max(self._peak, self.used)
        return slots

    def _free(self, count: int) -> Index:
        for start in (self.head, 0):
            slots = slice(start, start + count)
            if slots.stop <= self.capacity and not self.state[slots].any():
                self.head = slots.stop
                return slots
        free = np.flatnonzero(self.state == FREE)
        free = np.roll(free, -int(np.searchsorted(free, self.head)))[:count]
        self.head = int(free[-1]) + 1
        return free

    def below(self, step: int | None) -> NDArray[np.int64]:
        """Open slots whose step is under `step` (all for None), by step."""
        mask = self.state == OPEN
        if step is not None:
            mask &= self.steps < step
        slots = np.flatnonzero(mask)
        return slots[self.steps[slots].argsort()]

    def overdue(self, now: float, deadline: float) -> NDArray[np.int64]:
        """Open slots that were opened `deadline` seconds ago or earlier, by step."""
        slots = np.flatnonzero((self.state == OPEN) & (self.opened + deadline <= now))
        return slots[self.steps[slots].argsort()]

    def first_opened(self, count: int) -> NDArray[np.int64]:
        """The `count` open slots that were opened first, by step."""
        slots = np.flatnonzero(self.state == OPEN)
        slots = slots[np.lexsort((self.steps[slots], self.opened[slots]))][:count]
        return slots[self.steps[slots].argsort()]

    def close(self, slots: NDArray[np.int64]) -> None:
        """These open slots are closed and kept."""
        self.state[slots] = KEPT
        self.kept.extend(slots.tolist())
        self.open -= len(slots)
        self._look_at_open()

    def forget(self, count: int) -> None:
        """Free the `count` slots that were closed first."""
        if count <= 0:
            return
        slots = np.array([self.kept.popleft() for _ in range(count)])
        steps = self.steps[slots]
        self.state[slots] = FREE
        for step in steps.tolist():
            del self.of_step[step]
        highest = int(steps.max())
        self.horizon = highest if self.horizon is None else max(self.horizon, highest)

    def begin_anew(self, slots: NDArray[np.int64]) -> None:
        """Free these slots, which are kept: their steps may be opened again."""
        gone = set(slots.tolist())
        self.kept = deque(slot for slot in self.kept if slot not in gone)
        self.state[slots] = FREE
        for step in self.steps[slots].tolist():
            del self.of_step[step]

    def highest_closed(self) -> int | None:
        """The highest step that is known to be closed."""
        kept = np.flatnonzero(self.state == KEPT)
        highest = int(self.steps[kept].max()) if len(kept) else None
        return max((step for step in (highest, self.horizon) if step is not None), default=None)

    def smaller(self) -> int:
        """The capacity to move to, when for a while far less than the present one was needed; else the present."""
        self._looks += 1
        if self._looks < _LOOKS:
            return self.capacity
        peak, self._looks, self._peak = self._peak, 0, self.used
        fitting = max(_FIRST_CAPACITY, 1 << (5 * peak // 4).bit_length())
        return fitting if fitting * 4 <= self.capacity else self.capacity

    def in_order(self) -> NDArray[np.int64]:
        """All used slots: the kept ones as they were closed, then the open ones as they were opened."""
        opened = np.flatnonzero(self.state == OPEN)
        opened = opened[np.lexsort((self.steps[opened], self.opened[opened]))]
        return np.concatenate([np.array(self.kept, np.int64), opened])

    def moved(self, order: NDArray[np.int64], capacity: int) -> Slots:
        """The same steps in slots 0, 1, ... of another capacity; `order` is `in_order()`."""
        fresh = Slots(capacity)
        for field in ("steps", "times", "opened", "marks", "flushes"):
            getattr(fresh, field)[: len(order)] = getattr(self, field)[order]
        fresh.fill(len(self.kept), len(order))
        fresh.horizon, fresh._peak, fresh._looks = self.horizon, self._peak, self._looks
        return fresh

    def fill(self, kept: int, count: int) -> None:
        """Slots 0 to count - 1 are in use, the first `kept` of them closed; steps and times are there already."""
        self.state[:kept], self.state[kept:count] = KEPT, OPEN
        self.of_step = {step: slot for slot, step in enumerate(self.steps[:count].tolist())}
        self.kept = deque(range(kept))
        self.head, self.open = count, count - kept
        self._peak = count
        self._look_at_open()

    def _look_at_open(self) -> None:
        left = np.flatnonzero(self.state == OPEN) if self.open else None
        self.oldest = np.inf if left is None else float(self.opened[left].min())
        self.lowest = 0 if left is None else int(self.steps[left].min())
