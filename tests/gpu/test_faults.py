"""A GPU that breaks under a job: the job ends with CUDA's error, and its logger does not keep it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.oracle import csv_series
from tests.gpu.device import DEVICE, MARKS

pytestmark = MARKS

BOUND_S = 100
"""Of a start, ten steps and an end, in which `finish` waits for 30 s at most."""


def test_a_job_whose_gpu_breaks_ends_with_its_error_and_what_was_flushed_is_there(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("breaks.py")), str(tmp_path), DEVICE]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=BOUND_S)
    assert "flushed" in done.stdout, done.stderr
    assert done.returncode != 0
    assert "device-side assert triggered" in done.stderr
    assert csv_series(tmp_path / "p" / "run", "loss") == {step: [float(step)] for step in range(10)}
