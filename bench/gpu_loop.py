"""The loop of `bench/gpu.py`'s training, and the ways in which it logs."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from gpu_plan import ITEMS, METRICS, OURS, STACKED
from gpu_training import Training

Scalars = dict[str, Any]
Log = Callable[[Scalars, int], object]

NAMES = [f"train/metric_{index}" for index in range(METRICS)]


def nothing(row: Scalars, step: int) -> None:
    """No logging: the step itself, and the dict of its metrics."""


def items(row: Scalars, step: int) -> Scalars:  # noqa: ARG001 - a logger's arguments
    """A read for each metric, as Lightning's loggers and most scripts do it."""
    return {name: value.item() for name, value in row.items()}


def stacked(row: Scalars, step: int) -> Scalars:  # noqa: ARG001 - as above
    """All metrics by one read: the best that can be had of a logger that has its numbers at once."""
    return dict(zip(row, torch.stack(list(row.values())).tolist(), strict=True))


def ways(run: Any) -> dict[str, Log]:
    """How it is logged, by name; what the first two read goes nowhere."""
    return {ITEMS: items, STACKED: stacked, OURS: run.log}


class Block(NamedTuple):
    """Steps that were logged in one way."""

    way: str
    step_us: float
    """a step's mean"""
    calls_ns: list[int]


class Loop:
    """Trains, and logs each step."""

    def __init__(self, training: Training) -> None:
        self.training = training
        self._number = 0

    def next(self) -> int:
        """The number of the next step, for whoever logs one."""
        number, self._number = self._number, self._number + 1
        return number

    def block(self, way: str, log: Log, steps: int) -> Block:
        """Steps from an idle GPU to an idle GPU."""
        self.training.finish()
        began = time.perf_counter()
        calls = self.steps(log, steps)
        self.training.finish()
        return Block(way, (time.perf_counter() - began) / steps * 1e6, calls)

    def steps(self, log: Log, steps: int) -> list[int]:
        """What each call took (ns)."""
        clock, calls = time.perf_counter_ns, []
        for _ in range(steps):
            row, number = dict(zip(NAMES, self.training.step(), strict=True)), self.next()
            before = clock()
            log(row, number)
            calls.append(clock() - before)
        return calls
