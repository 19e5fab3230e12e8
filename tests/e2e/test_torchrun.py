"""Real torchrun with gloo, the daemon beside it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e.oracle import csv_series, tensorboard_series

pytestmark = [pytest.mark.torch, pytest.mark.timeout(180)]

HERE = Path(__file__).parent
# With torch 2.13 a restarted gloo group finds the dead attempt's addresses in the agent's store, and gives up.
FRESH_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")


def test_two_ranks_are_reduced_to_one_series_that_a_restart_goes_on_with_and_supersedes(start, tmp_path: Path) -> None:
    command = start(
        sys.executable, "-m", "asynclogd", "run", "--",
        *TORCHRUN, "--nproc-per-node", 2, "--max-restarts", 1,
        HERE / "train_ddp.py", tmp_path, 120, "--crash-at", 55, **FRESH_STORE,
    )  # fmt: skip
    assert command.wait(150) == 0
    run_dir = tmp_path / "p" / "ddp"
    series = csv_series(run_dir, "known")
    resumed = int(next(step for step in sorted(series) if series[step][0] >= 1000))
    assert resumed <= 55
    wanted = {step: [step + 0.5 + (1000 if step >= resumed else 0)] for step in range(120)}
    assert series == wanted
    board = tensorboard_series(run_dir, "known")  # its files keep what is superseded
    assert {step: values[-1:] for step, values in board.items()} == wanted
    assert {step for step, values in board.items() if len(values) > 1} <= {*range(resumed, 56)}
    losses = csv_series(run_dir, "loss")
    assert losses[119][0] < losses[0][0]
    assert tensorboard_series(run_dir, "loss").keys() == losses.keys()
