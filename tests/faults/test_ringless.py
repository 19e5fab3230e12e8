"""A rank that has no ring, for want of room: nothing tells of its life but its words, and it has files on the disk."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asynclog_proto.records import Layout, Row
from asynclog_proto.spoolfile import SUFFIX
from asynclogd import living
from asynclogd.recovery import spool_batches
from tests.daemon.speaker import Speaker
from tests.e2e.balance import expect_balanced
from tests.e2e.conftest import HERE, Start
from tests.e2e.daemons import daemon_pid
from tests.e2e.oracle import csv_series, returned, value

pytestmark = pytest.mark.timeout(180)

Eventually = Callable[..., None]

RINGLESS = """
import resource, runpy, sys, asynclog

init, limits = asynclog.init, resource.getrlimit(resource.RLIMIT_FSIZE)

def without_a_ring(*arguments, **options):
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, limits[1]))
    try:
        return init(*arguments, **options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

asynclog.init = without_a_ring
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Pair:
    """Two ranks of a run: the one without a ring reaches the daemon through a path of its own, while that is there."""

    def __init__(self, start: Start, out: Path, runtime: Path) -> None:
        self._start, self._out, self._runtime = start, out, runtime
        self._path = runtime / "another.sock"
        self.enough = out / "enough"

    def daemon(self) -> subprocess.Popen[str]:
        deadlines = {f"ASYNCLOG_DAEMON_{name}_DEADLINE": "120" for name in ("JOIN", "STEP")}
        return self._start(sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics", **deadlines)

    def rank(self, rank: int, period: str, *inside: str) -> subprocess.Popen[str]:
        """`inside`: a command that runs it."""
        command = [HERE / "worker.py", self._out, "--rank", rank, "--world", 2, "--endless", "--until", self.enough]
        address = self._path if rank else self._runtime / "daemon.sock"
        before = ["-c", RINGLESS] if rank else []
        return self._start(
            *inside, sys.executable, *before, *command, "--period", period,
            ASYNCLOG_ENDPOINT=f"ipc://{address}", ASYNCLOG_RING_MB="1", PMIX_NAMESPACE="job",
        )  # fmt: skip

    def connect(self) -> None:
        self._path.symlink_to(self._runtime / "daemon.sock")

    def cut(self) -> None:
        self._path.unlink()

    def spooled(self) -> list[Path]:
        return list((self._out / "p" / "run" / "spool").glob(f"1-*/*{SUFFIX}"))

    def holds_rows(self) -> bool:
        """Whether there is more in its spool than its hello and the names of its metrics."""
        return any(batch.count > 1 for path in self.spooled() for batch in spool_batches(path.parent))

    def logged(self, rank: int) -> int:
        return returned(self._out / f"returned-run-{rank}") + 1


@pytest.fixture
def pair(start: Start, tmp_path: Path, runtime_dir: Path) -> Pair:
    return Pair(start, tmp_path, runtime_dir)


def leave_for_long(segments: list[Path]) -> None:
    """As if they had been written long ago."""
    then = time.time() - 2 * living.LATELY_SECONDS
    for segment in segments:
        os.utime(segment, (then, then))


def states(status: Callable[[], Any]) -> list[str]:
    """Of both ranks, as the daemon has them journaled."""
    ranks = [rank for daemon in status() for run in daemon.get("runs", ()) for rank in run["ranks"] if rank["records"]]
    return [rank["state"] for rank in sorted(ranks, key=lambda rank: int(rank["rank"]))]


def check(pair: Pair, out: Path) -> None:
    """Each step is there once; those of both ranks are of both."""
    steps = [pair.logged(rank) for rank in range(2)]
    series = csv_series(out / "p" / "run", "loss")
    assert {step: len(values) for step, values in series.items()} == dict.fromkeys(range(max(steps)), 1)
    both = {step: series[step] for step in range(min(steps))}
    assert both == {step: [(value(0, step) + value(1, step)) / 2] for step in both}
    expect_balanced(out / "p" / "run", sum(steps))


def test_its_spool_is_left_to_it_while_it_lives(
    pair: Pair, tmp_path: Path, eventually: Eventually, output: Callable[[], str]
) -> None:
    """A daemon starts, and another rank says hello first."""
    ringless = pair.rank(1, "0.0001")
    eventually(pair.spooled, what="its spool")
    pair.daemon()
    other = pair.rank(0, "0.001")
    eventually(lambda: pair.logged(0) > 1000, what="the other rank")
    assert pair.spooled()
    more = pair.logged(1) + 5000
    eventually(lambda: pair.logged(1) > more, what="more in its spool")
    pair.connect()
    pair.enough.touch()
    assert [ringless.wait(90), other.wait(90)] == [0, 0], output()
    assert "are lost" not in output()
    check(pair, tmp_path)
    assert not pair.spooled()


@pytest.mark.fault("both-killed")
@pytest.mark.parametrize("when", ["long before", "just before"])
def test_it_is_not_taken_for_a_process_of_another_container(
    when: str, pair: Pair, tmp_path: Path, eventually: Eventually, output: Callable[[], str]
) -> None:
    """It is dead, its process id was that of a living process here, and it had no daemon."""
    ringless = pair.rank(1, "0.0001", "unshare", "-Urpf", "--mount-proc", "--kill-child")
    eventually(pair.holds_rows, what="its spool")
    os.killpg(ringless.pid, signal.SIGKILL)
    ringless.wait()
    if when == "long before":
        leave_for_long(pair.spooled())
    pair.daemon()
    other = pair.rank(0, "0.001")
    eventually(lambda: pair.logged(0) > 1000, what="the other rank")
    if when == "just before":
        assert pair.spooled()
        leave_for_long(pair.spooled())
    eventually(lambda: not pair.spooled(), what="what it left is taken up")
    more = pair.logged(0) + 100
    eventually(lambda: pair.logged(0) > more, what="the other rank goes on")
    pair.enough.touch()
    assert other.wait(90) == 0, output()
    series = csv_series(tmp_path / "p" / "run", "loss")
    assert all(len(values) == 1 for values in series.values())
    assert set(series) == set(range(len(series))) >= set(range(pair.logged(0)))
    assert series[0] == [(value(0, 0) + value(1, 0)) / 2]


@pytest.mark.fault("daemon-killed")
def test_it_has_time_to_say_hello_to_the_next_daemon(
    pair: Pair, tmp_path: Path, runtime_dir: Path, status: Callable[[], Any], eventually: Eventually, output: Any
) -> None:
    pair.daemon()
    pair.connect()
    ranks = [pair.rank(rank, "0.001") for rank in range(2)]
    eventually(lambda: states(status) == ["live", "live"], what="both ranks")
    pair.cut()
    os.kill(daemon_pid(runtime_dir), signal.SIGKILL)
    pair.daemon()
    eventually(lambda: states(status), what="the next daemon")
    more = pair.logged(0) + 3000
    eventually(lambda: pair.logged(0) > more, what="the other rank")
    assert states(status) == ["live", "live"]
    pair.connect()
    pair.enough.touch()
    assert [rank.wait(90) for rank in ranks] == [0, 0], output()
    check(pair, tmp_path)


@pytest.mark.fault("both-killed")
@pytest.mark.parametrize("ring", ["", "gone"])
def test_sync_does_not_wait_for_one_that_has_left_nothing(
    ring: str, pair: Pair, tmp_path: Path, runtime_dir: Path, eventually: Eventually
) -> None:
    """It was on another machine, say; or the machine was started anew, and its ring was in memory."""
    daemon, place = pair.daemon(), runtime_dir / "rings" / "gone.ring"
    eventually((runtime_dir / "daemon.sock").exists, what="the daemon")
    place.mkdir()  # of which no lock can be had: as if its process lived
    with Speaker(runtime_dir, tmp_path, "a0", launch="first", ring=str(place) if ring else "") as speaker:
        speaker.hello({"csv": {}})
        speaker.say(Layout(0, ("loss",)), Row(0, 7, 0.0, 1.0, (0.5,)))
        daemon.kill()
        daemon.wait()
    place.rmdir()
    command = [sys.executable, "-m", "asynclogd", "sync", str(tmp_path), "--timeout", "20"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert csv_series(tmp_path / "p" / "run", "loss") == {7: [0.5]}
