"""A job that SLURM preempts: SIGTERM, SIGKILL after a grace, and the same job once more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import end_processes_of
from tests.e2e.balance import expect_balanced
from tests.e2e.conftest import HERE, Start
from tests.e2e.daemons import alive, daemon_pid
from tests.e2e.oracle import csv_series, expect_unblocked, returned, value
from tests.faults.plugin import Tell

pytestmark = [pytest.mark.fault("preempted"), pytest.mark.timeout(120)]

JOB = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_STEP_ID": "0"}

HEEDLESS = """
import runpy, signal, sys
signal.signal(signal.SIGTERM, lambda *_: print("SIGTERM", flush=True))
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Goes on after SIGTERM, as a training that wants to save something does."""


@pytest.mark.parametrize("grace", ["it ends in it", "it logs on", "none"])
def test_a_job_that_is_requeued_goes_on_in_its_run(
    grace: str,
    start: Start,
    tmp_path: Path,
    runtime_dir: Path,
    eventually: Callable[..., None],
    output: Callable[[], str],
    figures: Tell,
) -> None:
    """The whole node goes: after the grace nothing of the first attempt lives, the daemon neither."""
    told = tmp_path / "returned-run-0"

    def job(*options: object, **environ: str) -> subprocess.Popen[str]:
        before = ["-c", HEEDLESS] if grace == "it logs on" else []
        return start(sys.executable, *before, HERE / "worker.py", tmp_path, *options, **JOB, **environ)

    first = job("--steps", 10**7, "--period", 0.001)
    eventually(lambda: returned(told) > 1000 and daemon_pid(runtime_dir), 60, "1,000 steps")
    daemon = daemon_pid(runtime_dir)
    if grace != "none":
        first.terminate()
        os.kill(daemon, signal.SIGTERM)
    if grace == "it ends in it":
        eventually(lambda: first.poll() is not None and not alive(daemon), 30, "an end within the grace")
    elif grace == "it logs on":
        eventually(lambda: "SIGTERM" in output() and not alive(daemon), 30, "an end of the daemon within the grace")
        more = returned(told) + 1000
        eventually(lambda: returned(told) > more, what="1,000 more steps")
    end_processes_of(runtime_dir)  # SIGKILL of all that is there: where it logs on, it may have a daemon again
    first.wait()
    last = returned(told)
    resumed = last // 2
    second = job("--first", resumed, "--steps", 2000, "--offset", 1000, SLURM_RESTART_COUNT="1")
    assert second.wait(60) == 0
    wanted = {step: value(0, step) for step in range(resumed)}
    wanted |= {step: value(0, step) + 1000 for step in range(resumed, resumed + 2000)}
    series = csv_series(tmp_path / "p" / "run", "loss")
    assert {step: series.get(step) for step in wanted} == {step: [point] for step, point in wanted.items()}
    assert all(step <= last + 1 for step in series.keys() - wanted.keys())
    expect_balanced(tmp_path / "p" / "run", last + 1 + 2000, extra=1)
    figures(issued=len(wanted), lost=0, doubled=0, log_p999_us=expect_unblocked(tmp_path))
