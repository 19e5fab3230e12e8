"""Real torchrun with gloo, the daemon beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e.oracle import csv_series, expect_each_once, tensorboard_series

pytestmark = [pytest.mark.torch, pytest.mark.timeout(180)]

HERE = Path(__file__).parent
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")


def test_two_ranks_are_reduced_to_one_series(start, tmp_path: Path) -> None:
    command = start(
        sys.executable, "-m", "asynclogd", "run", "--",
        *TORCHRUN, "--nproc-per-node", 2, HERE / "train_ddp.py", tmp_path, 200,
    )  # fmt: skip
    assert command.wait(150) == 0
    run_dir = tmp_path / "p" / "ddp"
    expect_each_once(run_dir, "known", {step: step + 0.5 for step in range(200)})
    losses = csv_series(run_dir, "loss")
    assert losses[199][0] < losses[0][0]
    assert tensorboard_series(run_dir, "loss").keys() == losses.keys()
