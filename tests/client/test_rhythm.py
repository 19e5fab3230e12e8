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
from asynclog.rhythm import Rhythm, idle_seconds
from asynclog_proto.frames import Batch
from tests.client.scripted import ScriptedDaemon

CORES = 4

linux = pytest.mark.skipif(not Path("/proc/uptime").exists(), reason="Linux alone tells how idle it is")


class Machine:
    """A rhythm on a machine whose idle cores are told."""

    def __init__(self, cores: int = CORES) -> None:
        self.idle_cores = float(cores)
        self.idle = 5000.0
        self.rhythm = Rhythm(0.1, 1.0, cores, lambda: self.idle)
        self.now = 1000.03

    def goes_on(self, seconds: float) -> list[float]:
        """The intervals of so long."""
        intervals, end = [], self.now + seconds
        while self.now < end:
            due = self.rhythm.next_flush(self.now, may_wait=True) + 1e-4  # a thread wakes a little later
            intervals.append(due - self.now)
            self.idle += self.idle_cores * (due - self.now)
            self.now = due
        return intervals


@pytest.mark.parametrize(("cores", "idle_cores"), [(CORES, CORES), (CORES, 1.3), (64, 6.5), (2, 1.3), (1, 0.7)])
def test_it_is_calm_while_cores_are_idle(cores: int, idle_cores: float) -> None:
    machine = Machine(cores)
    machine.idle_cores = idle_cores
    assert max(machine.goes_on(30)) < 0.11


@pytest.mark.parametrize(("cores", "idle_cores"), [(CORES, 0.05), (64, 6), (2, 1), (1, 0.5)])
def test_it_is_busy_after_seconds_without_enough_of_them_and_calm_again_after_as_many_with(
    cores: int, idle_cores: float
) -> None:
    machine = Machine(cores)
    machine.goes_on(10)
    machine.idle_cores = idle_cores
    intervals = machine.goes_on(20)
    assert max(intervals[:5]) < 0.11
    assert intervals[-1] == pytest.approx(1.0, abs=1e-3)
    machine.idle_cores *= 1.1  # what a busy machine gains by flushing less does not make it calm
    assert machine.goes_on(20)[-1] == pytest.approx(1.0, abs=1e-3)
    machine.idle_cores = cores
    assert machine.goes_on(10)[-1] < 0.11


def test_a_pause_changes_nothing() -> None:
    machine = Machine(64)
    machine.idle_cores = 4
    machine.goes_on(20)
    for _ in range(20):
        machine.idle_cores = 64
        machine.goes_on(0.1)
        machine.idle_cores = 4
        machine.goes_on(2)
        assert machine.rhythm.busy


def test_a_burst_changes_nothing() -> None:
    machine = Machine()
    for _ in range(20):
        machine.idle_cores = 0
        machine.goes_on(0.5)
        machine.idle_cores = CORES
        assert max(machine.goes_on(2)) < 0.11


def test_ranks_flush_at_the_same_moments_however_busy() -> None:
    machine = Machine()
    moments = [machine.rhythm.next_flush(1000.01 + late, may_wait=True) for late in (0.0, 0.03, 0.08)]
    assert moments == pytest.approx([1000.1] * 3)
    machine.idle_cores = 0
    machine.goes_on(12)
    base = machine.now // 1
    assert [machine.rhythm.next_flush(base + late, may_wait=True) for late in (0.0, 0.5, 0.9)] == [base + 1] * 3


def test_what_may_not_wait_is_due_as_ever() -> None:
    machine = Machine()
    machine.idle_cores = 0
    machine.goes_on(12)
    assert machine.rhythm.busy
    now = machine.now + 0.01
    assert machine.rhythm.next_flush(now, may_wait=False) - now < 0.1
    assert machine.rhythm.next_look(2000.01) == pytest.approx(2000.1)


def test_an_interval_that_is_given_is_kept_and_nothing_is_read() -> None:
    rhythm = Rhythm(0.05, 0.05, CORES, lambda: pytest.fail("it was asked"))
    assert rhythm.next_flush(10.01, may_wait=True) == pytest.approx(10.05)


def test_a_system_that_does_not_tell_is_calm() -> None:
    rhythm = Rhythm(0.1, 1.0, CORES, lambda: None)
    assert all(rhythm.next_flush(now, may_wait=True) - now <= 0.11 for now in range(100))


@linux
def test_linux_tells() -> None:
    assert idle_seconds() is not None


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


@linux
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
