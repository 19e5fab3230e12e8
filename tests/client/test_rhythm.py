"""How often a sender flushes, by what the machine has to do."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import asynclog
from asynclog.rhythm import Rhythm, runnable_threads
from asynclog_proto.frames import Batch
from tests.client.scripted import ScriptedDaemon

CORES = 4


class Machine:
    """A rhythm on a machine whose load is told."""

    def __init__(self) -> None:
        self.runnable = 1
        self.rhythm = Rhythm(0.1, 1.0, CORES, lambda: self.runnable)
        self.now = 1000.03

    def goes_on(self, seconds: float) -> list[float]:
        """The intervals of so long."""
        intervals, end = [], self.now + seconds
        while self.now < end:
            due = self.rhythm.next_flush(self.now, may_wait=True)
            intervals.append(due - self.now)
            self.now = due + 1e-4  # a thread wakes a little later
        return intervals


@pytest.mark.parametrize("runnable", [1, CORES])
def test_it_is_calm_while_a_core_is_idle_when_it_sleeps(runnable: int) -> None:
    machine = Machine()
    machine.runnable = runnable
    assert max(machine.goes_on(30)) <= 0.1


def test_it_is_busy_after_seconds_without_an_idle_core_and_calm_again_after_as_many_with_one() -> None:
    machine = Machine()
    machine.goes_on(10)
    machine.runnable = CORES + 4
    intervals = machine.goes_on(10)
    assert max(intervals[:5]) <= 0.1
    assert intervals[-1] == pytest.approx(1.0, abs=1e-3)
    machine.runnable = 1
    assert machine.goes_on(10)[-1] <= 0.1


def test_a_burst_changes_nothing() -> None:
    machine = Machine()
    for _ in range(20):
        machine.runnable = 3 * CORES
        machine.goes_on(0.1)
        machine.runnable = 1
        assert max(machine.goes_on(2)) <= 0.1


def test_ranks_flush_at_the_same_moments_however_busy() -> None:
    machine = Machine()
    moments = [machine.rhythm.next_flush(1000.01 + late, may_wait=True) for late in (0.0, 0.03, 0.08)]
    assert moments == pytest.approx([1000.1] * 3)
    machine.runnable = CORES + 4
    machine.goes_on(10)
    base = machine.now // 1
    assert [machine.rhythm.next_flush(base + late, may_wait=True) for late in (0.0, 0.5, 0.9)] == [base + 1] * 3


def test_what_may_not_wait_is_due_as_ever() -> None:
    machine = Machine()
    machine.runnable = CORES + 4
    machine.goes_on(10)
    assert machine.rhythm.next_flush(2000.01, may_wait=False) == pytest.approx(2000.1)
    assert machine.rhythm.next_look(2000.01) == pytest.approx(2000.1)


def test_an_interval_that_is_given_is_kept_and_nothing_is_read() -> None:
    rhythm = Rhythm(0.05, 0.05, CORES, lambda: pytest.fail("it was asked"))
    assert rhythm.next_flush(10.01, may_wait=True) == pytest.approx(10.05)


def test_the_system_tells_of_this_thread_at_least() -> None:
    assert runnable_threads() >= (1 if Path("/proc/loadavg").exists() else 0)


@contextlib.contextmanager
def every_core_busy() -> Iterator[None]:
    spinning = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2 * (os.cpu_count() or 1))]
    try:
        yield
    finally:
        for process in spinning:
            process.kill()
        for process in spinning:
            process.wait()


@pytest.mark.skipif(not Path("/proc/loadavg").exists(), reason="Linux tells how many threads would run")
def test_without_an_idle_core_rows_go_in_batches_of_a_second_and_a_flush_at_once(
    daemon: ScriptedDaemon,
    begin: Callable[..., asynclog.Run],
    eventually: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("ASYNCLOG_FLUSH_MS")
    run = begin(rank=0, world_size=1)
    came: list[float] = []

    def before_batch(_: Batch) -> bool:
        came.append(time.monotonic())
        return True

    daemon.before_batch = before_batch

    def waited_a_second() -> bool:
        run.log({"x": 0.0})
        return any(later - earlier > 0.9 for earlier, later in pairwise(came))

    with every_core_busy():
        eventually(waited_a_second, 60, "a batch a second after the one before")
        run.log({"x": 1.0})
        seen = len(daemon.points())
        assert run.flush(30)
        assert len(daemon.points()) > seen
