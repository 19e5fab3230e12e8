"""A Trainer on a GPU with AsyncLogger: no step waits for the device to log, nor to show its progress."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.lightning.modules import scalars
from tests.gpu.device import MARKS, needs_cuda
from tests.gpu.training import KNOWN, METRICS, STEPS, AsyncLogger, Model, fitted

pytestmark = MARKS


@pytest.mark.parametrize("bar", [False, True])
def test_no_step_waits_and_each_value_is_in_the_files(bar: bool, tmp_path: Path) -> None:
    logger, model = AsyncLogger(tmp_path), Model(guarded=True)
    made = fitted(logger, model, enable_progress_bar=bar)
    assert model.guards == STEPS - KNOWN
    assert all(type(value) is float for value in made.progress_bar_metrics.values())
    found = scalars(logger.log_dir)
    for number in range(METRICS):
        wanted = [(step, number * (step + 1.0)) for step in range(STEPS)]
        assert found[f"metric_{number}"] == wanted, number


@needs_cuda
def test_steps_wait_as_often_as_without_a_logger_and_without_metrics(tmp_path: Path) -> None:
    command = [sys.executable, str(Path(__file__).with_name("train_profiled.py")), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=150)
    assert done.returncode == 0, done.stderr
    waits = json.loads(done.stdout.splitlines()[-1])
    assert waits["asynclog"] == waits["nobody"]
    assert waits["lightning"] >= waits["nobody"] + METRICS * 20, "the profiler sees none of Lightning's own reads"
