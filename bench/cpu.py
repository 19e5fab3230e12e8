"""CPU time of a process tree, ended children included, plus named processes outside the tree."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Callable, Iterable

import psutil


class ProcessTree:
    """CPU seconds of this process, of all that it started, and of `extra` pids (a daemon in its own session).

    A child that ended and was waited for is in RUSAGE_CHILDREN; an extra process that ended keeps the last
    reading that was taken of it. What the readings themselves cost (a look at every process) is left out.
    """

    def __init__(self, extra: Callable[[], Iterable[int]] = tuple) -> None:
        self._extra = extra
        self._last_extra: dict[int, float] = {}
        self._reading_s = 0.0

    def cpu_seconds(self) -> float:
        """CPU seconds since the processes began: take the difference of two readings."""
        start = time.thread_time()
        seconds = self._cpu_seconds() - self._reading_s
        self._reading_s += time.thread_time() - start
        return seconds

    def _cpu_seconds(self) -> float:
        own = resource.getrusage(resource.RUSAGE_SELF)
        ended = resource.getrusage(resource.RUSAGE_CHILDREN)
        total = own.ru_utime + own.ru_stime + ended.ru_utime + ended.ru_stime
        children = psutil.Process().children(recursive=True)
        total += sum(_cpu_seconds(child) or 0.0 for child in children)
        for pid in set(self._extra()) - {child.pid for child in children}:
            self._last_extra[pid] = _tree_seconds(pid) or self._last_extra.get(pid, 0.0)
        return total + sum(self._last_extra.values())


def cpu_clock(pid: int) -> float | None:
    """CPU seconds of one running process, all its threads; None when it is gone."""
    try:
        if sys.platform == "linux":
            # clock_getcpuclockid(3) of another process, in nanoseconds: psutil counts in 10 ms ticks.
            return time.clock_gettime((~pid << 3) | 2)
        times = psutil.Process(pid).cpu_times()
    except (OSError, psutil.Error):
        return None
    return times.user + times.system


def _cpu_seconds(process: psutil.Process) -> float | None:
    try:
        times = process.cpu_times()
    except psutil.Error:
        return None
    waited_for = getattr(times, "children_user", 0.0) + getattr(times, "children_system", 0.0)
    return (cpu_clock(process.pid) or times.user + times.system) + waited_for


def _tree_seconds(pid: int) -> float | None:
    try:
        process = psutil.Process(pid)
        children = process.children(recursive=True)
    except psutil.Error:
        return None
    return sum(_cpu_seconds(each) or 0.0 for each in [process, *children])
