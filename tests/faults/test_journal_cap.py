"""A run's journal at its cap, under a real daemon: as for a full disk, until one with a larger cap goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess, Popen
from typing import Any

import pytest

from tests.e2e.conftest import HERE, Start
from tests.e2e.daemons import daemon_pid
from tests.e2e.oracle import expect_each_once, returned, value
from tests.faults.conftest import Whole

pytestmark = pytest.mark.timeout(180)

Status = Callable[[], Any]
Eventually = Callable[..., None]


@pytest.fixture
def daemon(start: Start, runtime_dir: Path, status: Status, eventually: Eventually) -> Callable[[int], Popen[str]]:
    """`daemon(most_mb)`: a daemon whose journals may have so many MiB."""

    def begin(most_mb: int) -> Popen[str]:
        command = [sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics"]
        process = start(*command, ASYNCLOG_DAEMON_MAX_JOURNAL_MB=str(most_mb))
        eventually(lambda: daemon_pid(runtime_dir) == process.pid and status(), what="the daemon")
        return process

    return begin


@pytest.fixture
def rank(start: Start, tmp_path: Path, runtime_dir: Path) -> Start:
    """`rank(*options)`: worker.py at the daemon that is there."""
    command, endpoint = [sys.executable, HERE / "worker.py", tmp_path], f"ipc://{runtime_dir}/daemon.sock"
    return lambda *options: start(*command, *options, ASYNCLOG_ENDPOINT=endpoint)


def sync(directory: Path, most_mb: int) -> CompletedProcess[str]:
    command = [sys.executable, "-m", "asynclogd", "sync", str(directory)]
    environ = {**os.environ, "ASYNCLOG_DAEMON_MAX_JOURNAL_MB": str(most_mb)}
    return subprocess.run(command, env=environ, timeout=90, capture_output=True, text=True, check=False)


@pytest.mark.cap("journal")
def test_a_run_at_its_cap_goes_on_with_a_larger_one(
    daemon: Callable[[int], Popen[str]],
    rank: Start,
    tmp_path: Path,
    status: Status,
    output: Callable[[], str],
    eventually: Eventually,
    whole: Whole,
) -> None:
    told, enough = tmp_path / "returned-run-0", tmp_path / "enough"

    def seen() -> dict[str, Any]:
        runs = status()[0]["runs"]
        return runs[0] if runs else {"journal_error": "", "ledger": {"journaled": 0}}

    small = daemon(1)
    training = rank("--period", "0.0002", "--endless", "--until", enough)
    eventually(lambda: "daemon.max_journal_mb" in seen()["journal_error"], 60, "the journal is at its cap")
    eventually(lambda: all(not each["behind_items"] for each in seen()["backends"].values()), 60, "backends go on")
    taken, more = seen()["ledger"]["journaled"], returned(told) + 1000
    eventually(lambda: returned(told) > more, 60, "the rank goes on")
    assert seen()["ledger"]["journaled"] == taken < returned(told)
    small.terminate()
    assert small.wait(60) == 0
    daemon(1000)
    eventually(lambda: seen()["ledger"]["journaled"] > more, 60, "what had waited")
    assert seen()["journal_error"] == ""
    enough.touch()
    assert training.wait(90) == 0, output()
    whole({step: value(0, step) for step in range(returned(told) + 1)})


@pytest.mark.cap("journal")
def test_what_was_left_of_a_run_at_its_cap_stays_and_keeps_nobody_from_anything(
    daemon: Callable[[int], Popen[str]],
    rank: Start,
    worker: Start,
    tmp_path: Path,
    output: Callable[[], str],
    eventually: Eventually,
    whole: Whole,
) -> None:
    """Sync does not wait for room; a daemon that finds it serves other runs, and tells who goes on with this one."""
    spool = tmp_path / "p" / "run" / "spool"
    assert worker("--steps", 100_000, "--mode", "offline").wait(90) == 0
    refused = sync(tmp_path, 1)
    assert refused.returncode == 1
    assert "refuses data, what ranks left stays: it has" in refused.stdout
    assert list(spool.iterdir())
    small = daemon(1)
    assert rank("--name", "other", "--steps", 100).wait(60) == 0
    expect_each_once(tmp_path / "p" / "other", "loss", {step: value(0, step) for step in range(100)})
    assert "the journal refuses data" not in output()
    again = rank("--first", 100_000, "--steps", 10**7, "--period", "0.001")
    eventually(lambda: "the journal refuses data: it has" in output(), 60, "the rank is told")
    again.kill()
    again.wait()
    small.terminate()
    assert small.wait(60) == 0
    assert sync(tmp_path, 1000).returncode == 0
    whole({step: value(0, step) for step in range(returned(tmp_path / "returned-run-0") + 1)}, extra=1)
