"""Two ranks under real strategies: what the daemon reduces equals what sync_dist=True gives."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.client.lightning.modules import MARKS, close, rows, scalars

pytestmark = [*MARKS, pytest.mark.timeout(240)]

SCRIPT = Path(__file__).with_name("train_ranks.py")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2")
PYTHON = (sys.executable,)
LAUNCHES = [(PYTHON, "ddp_fork"), (PYTHON, "ddp_spawn"), (PYTHON, "ddp"), (TORCHRUN, "ddp")]
IDS = ["fork", "spawn", "script", "torchrun"]


def series(directory: Path) -> dict[str, list[tuple[float, float]]]:
    """What metrics.csv of each version has, by name: (step, value), sorted."""
    found: dict[str, list[tuple[float, float]]] = {}
    for version in sorted(directory.glob("lightning_logs/version_*")):
        for row in rows(version):
            for name, value in row.items():
                found.setdefault(name, []).append((row["step"], value))
    return {name: sorted(points) for name, points in found.items()}


@pytest.mark.parametrize(("launcher", "strategy"), LAUNCHES, ids=IDS)
def test_values_that_nobody_synced_come_out_as_lightning_syncs_them(
    launcher: tuple[str, ...], strategy: str, tmp_path: Path
) -> None:
    command = [*launcher, str(SCRIPT), str(tmp_path), strategy]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "asynclog:" not in done.stderr
    log_dir = tmp_path / "ours" / "lightning_logs" / "version_0"
    ours, theirs, board = series(tmp_path / "ours"), series(tmp_path / "theirs"), scalars(log_dir)
    reduced = [name for name in theirs if "_synced" in name]
    assert len(reduced) == 11
    for name in reduced:
        for twin in (name, name.replace("_synced", "")):
            assert [step for step, _ in ours[twin]] == [step for step, _ in theirs[name]], twin
            assert all(close(a, b) for (_, a), (_, b) in zip(ours[twin], theirs[name], strict=True)), twin
            points = sorted(board[twin])
            assert all(close(a, b) for (_, a), (_, b) in zip(points, ours[twin], strict=True)), twin
    assert set(ours["before"]) == {(0, 1.0)}
    assert ours["after"] == [(99, 2.0)]
    assert ours["lead"] == theirs["lead"]
    assert ours["lr-SGD"] == theirs["lr-SGD"]
    assert "odd" not in theirs
    assert [value for _, value in ours["odd"]] == [value for _, value in ours["mean_step/rank1"]]
    assert {"mean_epoch/rank0", "mean_epoch/rank1"} <= ours.keys()
    assert not {"sum_epoch/rank0"} & ours.keys()
    assert set(ours["epoch"]) == set(theirs["epoch"])
    assert [file.name for file in (log_dir / "checkpoints").iterdir()] == ["epoch=0-val_synced=1.83.ckpt"]
    assert f"log_dir {log_dir}" in done.stdout


def test_ranks_under_a_lightning_that_has_changed_give_what_lightnings_own_loggers_get(tmp_path: Path) -> None:
    done = subprocess.run(
        [*TORCHRUN, str(SCRIPT), str(tmp_path), "ddp", "changed"],
        capture_output=True, text=True, timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("asynclog: ") == 1
    assert "another _ResultCollection._forked_name than asynclog knows" in done.stderr
    assert "only rank 0's are logged" in done.stderr
    ours, theirs = series(tmp_path / "ours"), series(tmp_path / "theirs")
    assert {"sum_step", "max_epoch", "min_epoch", "lead", "val_step", "test", "lr-SGD"} <= theirs.keys()
    for name in theirs.keys() - {"epoch", "step"}:
        assert [step for step, _ in ours[name]] == [step for step, _ in theirs[name]], name
        assert all(close(a, b) for (_, a), (_, b) in zip(ours[name], theirs[name], strict=True)), name
    assert set(ours["epoch"]) == set(theirs["epoch"])


@pytest.mark.parametrize(("launcher", "strategy"), LAUNCHES, ids=IDS)
def test_callbacks_that_monitor_a_reduced_value_decide_alike_on_all_ranks(
    launcher: tuple[str, ...], strategy: str, tmp_path: Path
) -> None:
    command = [*launcher, str(SCRIPT.with_name("train_reduced.py")), str(tmp_path), strategy]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    seen = sorted(re.findall(r"seen \d \d \d\.0", done.stdout))
    # Rank 0 alone would have gone on; the mean gets worse from the first epoch on, which is the best.
    wanted = [f"seen {rank} {epoch} {2.0 + epoch}" for rank in range(2) for epoch in range(3)]
    assert seen == wanted
    assert "epoch=0.ckpt" in done.stdout
    # The rate was cut to a tenth after each epoch that was no better, of which there are two.
    decided = sorted(re.findall(r"decided .*", done.stdout))
    assert decided == [f"decided {rank} [2.0, 3.0, 4.0] 0.01" for rank in range(2)]


def test_a_sigterm_to_all_ranks_ends_each_at_its_batch_however_seldom_they_ask(tmp_path: Path) -> None:
    command = [*TORCHRUN, str(SCRIPT.with_name("train_sigterm.py")), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    for rank in range(2):
        told = json.loads((tmp_path / f"rank-{rank}.json").read_text())
        assert told == {"batches": [0, 1, 2, 3, 4, 5], "asked": [0, 4], "ended": "SIGTERMException"}
    assert series(tmp_path)["rank"] == [(step, 0.5) for step in range(6)]


@pytest.mark.parametrize(
    ("launcher", "strategy", "version"),
    [(PYTHON, "ddp_spawn", ()), (PYTHON, "ddp", ("7",)), (TORCHRUN, "ddp", ())],
    ids=["spawn", "script", "torchrun"],
)
def test_ranks_of_fabric_are_reduced_though_they_log_before_they_can_talk(
    launcher: tuple[str, ...], strategy: str, version: tuple[str, ...], tmp_path: Path
) -> None:
    command = [*launcher, str(SCRIPT.with_name("train_fabric.py")), str(tmp_path), strategy, *version]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "asynclog:" not in done.stderr
    assert [path.name for path in (tmp_path / "lightning_logs").iterdir()] == [f"version_{''.join(version) or 0}"]
    found = series(tmp_path)
    assert set(found.pop("before")) == {(0, 1.0)}
    assert found["rank"] == [(step, 0.5) for step in range(4)]
