"""A job that SLURM preempts: SIGTERM, SIGKILL after a grace, and the same job once more."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.daemons import alive, daemon_pid
from tests.e2e.oracle import csv_series, returned, value
from tests.faults.plugin import Tell

pytestmark = [pytest.mark.fault("preempted"), pytest.mark.timeout(120)]

JOB = {"SLURM_JOB_ID": "77", "SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_STEP_ID": "0"}


@pytest.mark.parametrize("grace", [True, False])
def test_a_job_that_is_requeued_goes_on_in_its_run(
    grace: bool, worker: Start, tmp_path: Path, runtime_dir: Path, eventually: Callable[..., None], figures: Tell
) -> None:
    """The whole node goes: after the grace nothing of the first attempt lives, the daemon neither."""
    told = tmp_path / "returned-run-0"
    first = worker("--steps", 10**7, "--period", 0.001, **JOB)
    eventually(lambda: returned(told) > 1000 and daemon_pid(runtime_dir), 60, "1,000 steps")
    daemon = daemon_pid(runtime_dir)
    if grace:
        first.terminate()
        os.kill(daemon, signal.SIGTERM)
        eventually(lambda: first.poll() is not None, 30, "an end within the grace")
    else:
        os.kill(daemon, signal.SIGKILL)
        first.kill()
        first.wait()
    eventually(lambda: not alive(daemon), 30, "the daemon's end")
    last = returned(told)
    resumed = last // 2
    second = worker("--first", resumed, "--steps", 2000, "--offset", 1000, **JOB, SLURM_RESTART_COUNT="1")
    assert second.wait(60) == 0
    wanted = {step: value(0, step) for step in range(resumed)}
    wanted |= {step: value(0, step) + 1000 for step in range(resumed, resumed + 2000)}
    series = csv_series(tmp_path / "p" / "run", "loss")
    assert {step: series.get(step) for step in wanted} == {step: [point] for step, point in wanted.items()}
    assert all(step <= last + 1 for step in series.keys() - wanted.keys())
    figures(issued=len(wanted), lost=0, doubled=0)
