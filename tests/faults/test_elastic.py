"""Real torchrun that restarts its workers, and starts fewer of them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.e2e.balance import expect_balanced
from tests.e2e.conftest import HERE, Start
from tests.e2e.oracle import csv_series, tensorboard_series
from tests.faults.plugin import Tell

pytestmark = [pytest.mark.fault("workers-restarted"), pytest.mark.torch, pytest.mark.timeout(180)]

TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone")
# With torch 2.13 a restarted gloo group finds the dead attempt's addresses in the agent's store, and gives up.
FRESH_STORE = {"TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1"}


def test_two_ranks_are_reduced_to_one_series_that_a_restart_goes_on_with_and_supersedes(
    start: Start, tmp_path: Path, figures: Tell
) -> None:
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
    expect_balanced(run_dir, 2 * (len(wanted) * 2), extra=2 * 2 * (56 - resumed))
    figures(issued=len(wanted) * 2, lost=0, doubled=0)


def test_a_world_of_four_that_crashed_goes_on_as_one_of_two(start: Start, tmp_path: Path, figures: Tell) -> None:
    """A mean over four ranks up to where the four had come, then over two: nobody waits for the two that are gone."""
    daemon = (sys.executable, "-m", "asynclogd", "run", "--")
    crash = ("--crash-at", 45)
    four = start(*daemon, *TORCHRUN, "--nproc-per-node", 4, HERE / "train_ddp.py", tmp_path, 90, *crash)
    assert four.wait(150) != 0
    resumed = int((tmp_path / "checkpoint").read_text())
    assert 0 < resumed <= 45
    two = start(*daemon, *TORCHRUN, "--nproc-per-node", 2, HERE / "train_ddp.py", tmp_path, 90)
    assert two.wait(150) == 0
    series = csv_series(tmp_path / "p" / "ddp", "known")
    assert series == {step: [step + (1.5 if step < resumed else 0.5)] for step in range(90)}
    expect_balanced(tmp_path / "p" / "ddp", 2 * (resumed * 4 + (90 - resumed) * 2), extra=2 * 4 * (46 - resumed))
    figures(issued=resumed * 4 + (90 - resumed) * 2, lost=0, doubled=0)
