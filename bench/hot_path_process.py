"""One contender in its own fresh process, measuring when `bench/hot_path.py` gives it the turn.

Commands come as JSON lines on standard input, answers go as JSON lines to the file descriptor in argv[3]
(standard output belongs to the SDKs, some of which chat). argv: CONTENDER DIRECTORY DESCRIPTOR.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import statistics
import sys
import time
from array import array
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from contender import Contender, Scalars
from contenders import CONTENDERS
from cpu import ProcessTree

STEP_S = 0.001
SETTLE_S = 0.3
"""Until what is flushed each 100 ms is delivered."""
WARM_UP_CALLS = 20
POOL = 256
"""Distinct rows that are logged back to back: making them is the trainer's cost, not the logger's."""


def asleep(seconds: float) -> None:
    """The rest of a step as a loop spends it that waits for its GPU: other threads run, the caller's core cools."""
    time.sleep(max(0.0, seconds))


def busy(seconds: float) -> None:
    """The rest of a step as a loop spends it that computes in C++: the core stays warm, the GIL is free."""
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        hashlib.sha256(_BLOCK)


_BLOCK = bytes(32 << 10)
PACES: Mapping[str, Callable[[float], None]] = {"asleep": asleep, "busy": busy}


def names_of(count: int) -> list[str]:
    """`count` names of metrics."""
    return [f"train/metric_{index}" for index in range(count)]


def made_row(names: list[str], step: int) -> Scalars:
    """A new dict of new floats, as a training loop makes it just before it logs it."""
    value = 0.37 * step
    return {name: value + index for index, name in enumerate(names)}


class Measurement:
    """The measurements of one contender; each `open` gives it a new, empty store."""

    def __init__(self, name: str, directory: Path) -> None:
        self._name = name
        self._directory = directory
        self._opened = 0

    def open(self) -> None:
        """Set up and warm up, so that imports and first files are measured nowhere."""
        self._opened += 1
        folder = self._directory / str(self._opened)
        folder.mkdir(parents=True)
        self._contender: Contender = CONTENDERS[self._name]()
        self._contender.setup(folder)
        self._step = 0
        self._pausing_s = 0.0
        self._tree = ProcessTree(self._contender.extra_pids)
        self._paced(WARM_UP_CALLS, asleep)

    def paced(self, calls: int, pace: str) -> dict[str, Any]:
        """Time of each call (ns), one a 1 ms step, and the tree's CPU (s) with what they leave to do."""
        before = self._tree.cpu_seconds() - self._pausing_s
        times = self._paced(calls, PACES[pace])
        if self._contender.drains_again:
            self._contender.drain_until_durable()
        else:
            time.sleep(SETTLE_S)
        return {"times_ns": list(times), "cpu_s": self._tree.cpu_seconds() - self._pausing_s - before}

    def _paced(self, calls: int, pause: Callable[[float], None]) -> array[int]:
        log, clock, names = self._contender.log, time.perf_counter_ns, names_of(10)
        times = array("q", bytes(8 * calls))
        for index in range(calls):
            step = self._step + index
            row = made_row(names, step)
            start = clock()
            log(row, step)
            times[index] = clock() - start
            idle = time.thread_time()
            pause(STEP_S - times[index] / 1e9)
            self._pausing_s += time.thread_time() - idle
        self._step += calls
        return times

    def close(self) -> dict[str, Any]:
        """CPU (s) of what was still to do."""
        before = self._tree.cpu_seconds()
        self._contender.drain_until_durable()
        spent = self._tree.cpu_seconds() - before
        self._contender.close()
        return {"cpu_s": spent}

    def end(self) -> None:
        """Stop what the contender left running beside this process."""
        for pid in self._contender.extra_pids():
            os.kill(pid, signal.SIGTERM)

    def back_to_back(self, rows: int) -> dict[str, Any]:
        """Wall clock and the tree's CPU for each row (us), from the first call until all rows are durable."""
        self.open()
        pool, log, first = [made_row(names_of(10), row) for row in range(POOL)], self._contender.log, self._step
        cpu_s, start = self._tree.cpu_seconds(), time.perf_counter()
        for index in range(rows):
            log(pool[index % POOL], first + index)
        self._contender.drain_until_durable()
        spent, cpu_s = time.perf_counter() - start, self._tree.cpu_seconds() - cpu_s
        self._contender.close()
        return {"rows": rows, "until_durable_us_per_row": spent / rows * 1e6, "cpu_us_per_row": cpu_s / rows * 1e6}

    def wide(self, names: int) -> dict[str, Any]:
        """Median cost of a call (ns) for each of its `names` values, at a pace that lets a sender keep up."""
        self.open()
        keys = names_of(names)
        calls = max(20, min(2_000, 500_000 // names))
        log, clock, times = self._contender.log, time.perf_counter_ns, []
        for index in range(calls):
            step = self._step + index
            row = made_row(keys, step)
            start = clock()
            log(row, step)
            times.append(clock() - start)
            time.sleep(names * 100e-9)
        self._contender.drain_until_durable()
        self._contender.close()
        # The first call with new names pays for their spelling; the median is that of the calls after it.
        return {"calls": calls, "ns_per_value": statistics.median(times) / names}


def main() -> None:
    measurement = Measurement(sys.argv[1], Path(sys.argv[2]))
    commands = os.fdopen(os.dup(0))
    os.dup2(2, 1)
    with os.fdopen(int(sys.argv[3]), "w", buffering=1) as answers:
        for line in commands:
            name, *arguments = json.loads(line)
            answers.write(json.dumps(getattr(measurement, name)(*arguments)) + "\n")
    measurement.end()


if __name__ == "__main__":
    main()
