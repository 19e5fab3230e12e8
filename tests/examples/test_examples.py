"""The examples, run as their first lines say, on short trainings."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
STEPS_AN_EPOCH = 44
"""1,437 images over 2 ranks of 16 images a step, the last, smaller batch left out."""


@pytest.fixture
def environ() -> dict[str, str]:
    """This Python's scripts first on PATH; child processes find the checkout."""
    path = [str(Path(sys.executable).parent), os.environ["PATH"]]
    return {**os.environ, "PATH": os.pathsep.join(path), "OMP_NUM_THREADS": "1"}


def columns(run: Path) -> dict[str, list[str]]:
    with (run / "csv" / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows if row[name]] for name in rows[0]}


def test_the_plain_loop_leaves_every_point_on_disk(tmp_path: Path, environ: dict[str, str]):
    subprocess.run([sys.executable, EXAMPLES / "plain_loop.py"], cwd=tmp_path, env=environ, check=True)
    (run,) = (tmp_path / "asynclog" / "hello").iterdir()
    found = columns(run)
    assert len(found["loss"]) == len(found["lr"]) == 1_000
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))


@pytest.mark.torch
@pytest.mark.mlflow
@pytest.mark.timeout(180)
def test_the_demo_ends_with_table_ledger_picture_and_can_be_run_again(tmp_path: Path, environ: dict[str, str]):
    pytest.importorskip("sklearn")
    pytest.importorskip("mlflow")

    def demo() -> str:
        command = [str(EXAMPLES / "demo.sh"), "--epochs", "2"]
        elsewhere = {**environ, "DEMO_OUT": str(tmp_path)}
        return subprocess.run(command, env=elsewhere, check=True, capture_output=True, text=True).stdout

    demo()
    shown = demo()
    found = columns(tmp_path / "digits" / "demo")
    per_rank = [f"train/loss{part}" for part in ("", "/min", "/max", "/rank0", "/rank1")]
    for name in [*per_rank, "train/grad_norm", "train/samples_per_s"]:
        assert len(found[name]) == 2 * STEPS_AN_EPOCH, name
    assert len(found["val/accuracy"]) == 2
    low, mean, high = ([float(cell) for cell in found[f"train/loss{part}"]] for part in ("/min", "", "/max"))
    assert all(a <= b <= c for a, b, c in zip(low, mean, high, strict=True))
    assert (tmp_path / "loss.png").read_bytes().startswith(b"\x89PNG")
    assert "val/accuracy" in shown
    assert "values issued" in shown
    assert "mlflow ui --backend-store-uri" in shown


@pytest.mark.torch
@pytest.mark.timeout(180)
def test_lightning_learns_the_digits_and_logs_every_step(tmp_path: Path, environ: dict[str, str]):
    pytest.importorskip("sklearn")
    pytest.importorskip("lightning")
    command = [sys.executable, str(EXAMPLES / "lightning_digits.py"), "--epochs", "3", "--out", str(tmp_path)]
    shown = subprocess.run(command, cwd=tmp_path, env=environ, check=True, capture_output=True, text=True).stdout
    version = tmp_path / "digits" / "version_0"
    assert f"in {version}" in shown
    with (version / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len([row for row in rows if row["train/loss_step"]]) == 3 * 45
    assert float([row["val/accuracy"] for row in rows if row["val/accuracy"]][-1]) > 0.8
    assert list(version.glob("checkpoints/*.ckpt"))


@pytest.mark.parametrize("script", ["digits_ddp.py", "plot_loss.py", "final_metrics.py"])
def test_help_teaches(script: str, environ: dict[str, str]):
    if script == "digits_ddp.py":
        pytest.importorskip("sklearn")
        pytest.importorskip("torch")
    done = subprocess.run(
        [sys.executable, EXAMPLES / script, "--help"], env=environ, check=True, capture_output=True, text=True
    )
    assert script in done.stdout
    assert "default" in done.stdout or "run's folder" in done.stdout
