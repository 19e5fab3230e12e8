"""A disk that answers EIO for a while: calls on the journal's files fail under a real daemon's and SQLite's feet."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import HERE, Start
from tests.e2e.daemons import daemon_pid
from tests.e2e.oracle import expect_each_once, returned, value
from tests.faults.conftest import Whole
from tests.faults.endless import Endless
from tests.faults.preloaded import BreakingDisk

pytestmark = pytest.mark.timeout(180)

FILES = "*/journal.sqlite*"
WRITES = "write,sync"
ALL = "read,write,sync"

JOURNALED = """
import os, sqlite3, sys
from pathlib import Path
from asynclogd.journal import Journal
from tests.daemon.journal_process import commit
from tests.daemon.journalcontent import content, written

flag, path = Path(os.environ["BROKEN_WHILE"]), Path(sys.argv[1])
commits = [commit(number, 100_000) for number in range(1, 30)]
with Journal.open(path, sys.argv[2]) as journal:
    for number, each in enumerate(commits):
        if number % 3 == 1:
            flag.touch()
            for _ in range(3):
                try:
                    journal.commit(each)
                except sqlite3.Error as error:
                    print(error)
                else:
                    sys.exit("it was not refused")
            flag.unlink()
        journal.commit(each)
    assert content(journal) == written(commits)
with Journal.open(path) as journal:
    assert content(journal) == written(commits)
"""


@pytest.mark.fault("disk-broken")
@pytest.mark.parametrize(
    ("calls", "durability"),
    [(WRITES, "process"), (ALL, "process"), (WRITES, "fsync"), (ALL, "fsync"), ("sync", "fsync")],
)
def test_a_commit_that_was_refused_is_whole_when_it_is_tried_again(
    calls: str, durability: str, disk: BreakingDisk, tmp_path: Path
) -> None:
    """Names that nobody has logged before are in it."""
    command = [sys.executable, "-c", JOURNALED, str(tmp_path / "journal.sqlite"), durability]
    environment = {**os.environ, **disk.environment(FILES, calls)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "disk I/O error" in done.stdout


class Rank(Endless):
    """A rank, and its daemon on a disk that may break."""

    def __init__(self, start: Start, out: Path, runtime: Path, environment: dict[str, str], durability: str) -> None:
        super().__init__(start, out, runtime, environment)
        self._durability = durability

    def daemon(self) -> None:
        self.start_daemon("--durability", self._durability)


def told(status: Callable[[], Any]) -> str:
    """All that the status says."""
    return json.dumps(status())


@pytest.mark.fault("disk-broken")
@pytest.mark.parametrize(
    ("when", "calls", "durability"),
    [
        ("before", WRITES, "process"),
        ("before", ALL, "process"),
        ("later", WRITES, "process"),
        ("later", ALL, "process"),
        ("later", "sync", "fsync"),
        ("killed", WRITES, "process"),
        ("killed", ALL, "fsync"),
    ],
)
def test_a_disk_that_was_broken_has_everything_once_it_works(
    when: str,
    calls: str,
    durability: str,
    disk: BreakingDisk,
    start: Start,
    tmp_path: Path,
    runtime_dir: Path,
    status: Callable[[], Any],
    output: Callable[[], str],
    eventually: Callable[..., None],
    whole: Whole,
) -> None:
    """Broken before the run began, or in the middle of it, or when its daemon was killed; the rank logs on."""
    rank = Rank(start, tmp_path, runtime_dir, disk.environment(FILES, calls), durability)
    rank.daemon()
    eventually((runtime_dir / "daemon.sock").exists, what="the daemon")
    if when == "before":
        disk.breaks()
    process = rank.begin()
    if when != "before":
        eventually(lambda: '"items": 0' not in told(status) and '"items"' in told(status), what="the first items")
        disk.breaks()
    eventually(lambda: "/O error" in told(status) or "malformed" in told(status), what="the daemon says so")
    more = rank.steps + 1000
    eventually(lambda: rank.steps > more, what="the rank goes on")
    if when == "killed":
        os.kill(daemon_pid(runtime_dir), signal.SIGKILL)
        disk.works()
        rank.daemon()
    else:
        disk.works()
    eventually(lambda: '"journal_error": ""' in told(status), what="the journal works again")
    rank.enough.touch()
    assert process.wait(90) == 0, output()
    assert "are lost" not in output()
    assert "refuses this run" not in output()
    whole({step: value(0, step) for step in range(rank.steps)})


@pytest.mark.fault("disk-broken")
def test_a_journal_that_refuses_what_was_left_keeps_no_other_run_from_being_served(
    disk: BreakingDisk,
    start: Start,
    worker: Start,
    tmp_path: Path,
    runtime_dir: Path,
    status: Callable[[], Any],
    output: Callable[[], str],
    eventually: Callable[..., None],
) -> None:
    """A daemon begins on such a disk, and the training of that run is started again."""
    training = worker("--steps", 10**7, "--period", "0.001")
    logged = tmp_path / "returned-run-0"
    eventually(lambda: any(run["items"] for daemon in status() for run in daemon["runs"]), 60, "the first items")
    os.kill(daemon_pid(runtime_dir), signal.SIGKILL)
    training.kill()
    training.wait()
    first = returned(logged) + 1
    disk.breaks()
    command = [sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics"]
    start(*command, **disk.environment("*/p/run/journal.sqlite*", "write", errno.ENOSPC))
    endpoint = f"ipc://{runtime_dir}/daemon.sock"

    def rank(*options: object) -> subprocess.Popen[str]:
        return start(sys.executable, HERE / "worker.py", tmp_path, *options, ASYNCLOG_ENDPOINT=endpoint)

    assert rank("--name", "other", "--steps", 100).wait(90) == 0
    eventually(lambda: "disk is full" in told(status), what="the daemon says so")
    again = rank("--first", first, "--steps", 100)
    eventually(lambda: "the journal refuses what the launch before left" in output(), 60, "the rank is told")
    disk.works()
    assert again.wait(90) == 0
    expect_each_once(tmp_path / "p" / "run", "loss", {step: value(0, step) for step in range(first + 100)})
