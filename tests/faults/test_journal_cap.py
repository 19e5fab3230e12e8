"""A run's journal at its cap, under a real daemon: as for a full disk, until one with a larger cap goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import HERE, Start
from tests.e2e.daemons import daemon_pid
from tests.e2e.oracle import returned, value
from tests.faults.conftest import Whole

pytestmark = pytest.mark.timeout(180)


@pytest.mark.cap("journal")
def test_a_run_at_its_cap_goes_on_with_a_larger_one(
    start: Start,
    tmp_path: Path,
    runtime_dir: Path,
    status: Callable[[], Any],
    output: Callable[[], str],
    eventually: Callable[..., None],
    whole: Whole,
) -> None:
    told, enough = tmp_path / "returned-run-0", tmp_path / "enough"

    def daemon(most_mb: int) -> Any:
        command = [sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics"]
        process = start(*command, ASYNCLOG_DAEMON_MAX_JOURNAL_MB=str(most_mb))
        eventually(lambda: daemon_pid(runtime_dir) == process.pid and status(), what="the daemon")
        return process

    def seen() -> Any:
        (run,) = status()[0]["runs"]
        return run

    small = daemon(1)
    command = [HERE / "worker.py", tmp_path, "--period", "0.0002", "--endless", "--until", enough]
    rank = start(sys.executable, *command, ASYNCLOG_ENDPOINT=f"ipc://{runtime_dir}/daemon.sock")
    eventually(lambda: "journal_error" in str(status()) and seen()["journal_error"], 60, "the journal is at its cap")
    assert "daemon.max_journal_mb" in seen()["journal_error"]
    eventually(lambda: all(not each["behind_items"] for each in seen()["backends"].values()), 60, "backends go on")
    taken, more = seen()["ledger"]["journaled"], returned(told) + 1000
    eventually(lambda: returned(told) > more, 60, "the rank goes on")
    assert seen()["ledger"]["journaled"] == taken < returned(told)
    small.terminate()
    assert small.wait(60) == 0
    daemon(1000)
    eventually(lambda: status()[0]["runs"] and seen()["ledger"]["journaled"] > more, 60, "what had waited")
    assert seen()["journal_error"] == ""
    enough.touch()
    assert rank.wait(90) == 0, output()
    whole({step: value(0, step) for step in range(returned(told) + 1)})


@pytest.mark.cap("journal")
def test_a_sync_at_the_cap_ends_by_its_timeout_and_leaves_the_rest(worker: Start, tmp_path: Path, whole: Whole) -> None:
    assert worker("--steps", 100_000, "--mode", "offline").wait(90) == 0

    def sync(most_mb: int) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "asynclogd", "sync", "--timeout", "0.5", str(tmp_path)]
        environ = {**os.environ, "ASYNCLOG_DAEMON_MAX_JOURNAL_MB": str(most_mb)}
        return subprocess.run(command, env=environ, timeout=90, capture_output=True, text=True, check=False)

    refused = sync(1)
    assert refused.returncode == 1
    assert "refuses data, what ranks left stays: it has" in refused.stdout
    assert list((tmp_path / "p" / "run" / "spool").iterdir())
    assert sync(1000).returncode == 0
    whole({step: value(0, step) for step in range(100_000)})
