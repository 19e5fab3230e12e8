"""The examples, run as their first lines say, on short trainings."""

from __future__ import annotations

import csv
import os
import runpy
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

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
    return cells(run / "csv" / "metrics.csv")


def cells(path: Path) -> dict[str, list[str]]:
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [row[name] for row in rows if row[name]] for name in rows[0]}


def test_the_plain_loop_leaves_every_point_on_disk(tmp_path: Path, environ: dict[str, str]):
    subprocess.run([sys.executable, EXAMPLES / "plain_loop.py"], cwd=tmp_path, env=environ, check=True)
    (run,) = (tmp_path / "asynclog" / "hello").iterdir()
    found = columns(run)
    assert len(found["loss"]) == len(found["lr"]) == 1_000
    assert list((run / "tensorboard").glob("events.out.tfevents.*"))


def test_the_custom_backend_is_given_every_point_and_answers(tmp_path: Path, environ: dict[str, str]):
    command = [sys.executable, "-W", "error", str(EXAMPLES / "custom_backend.py")]
    done = subprocess.run(command, cwd=tmp_path, env=environ, check=True, capture_output=True, text=True)
    (run,) = (tmp_path / "asynclog" / "custom").iterdir()
    losses = [float(cell) for cell in columns(run)["loss"]]
    with sqlite3.connect(run / "table" / "digits.sqlite") as table:
        rows = table.execute("SELECT value, ranks FROM points WHERE name = 'loss' ORDER BY step").fetchall()
    table.close()
    assert rows == [(loss, 1) for loss in losses]
    assert len(rows) == 1_000
    assert f"is {min(losses):.4f}, at step {losses.index(min(losses))}" in done.stdout


def test_the_contract_runs_on_the_custom_backend(tmp_path: Path, environ: dict[str, str]):
    for name in ("custom_backend.py", "test_custom_backend.py"):
        shutil.copy(EXAMPLES / name, tmp_path)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_custom_backend.py"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.split(" passed")[0].split()[-1]) > 15


# What an earlier call of demo.sh leaves, without its training: the same command, project, name and backends.
EARLIER_DEMO = """
import asynclog
with asynclog.init(project="digits") as run:
    run.log({"train/loss": 1.0}, step=500)
"""


@pytest.mark.torch
@pytest.mark.mlflow
@pytest.mark.timeout(180)
def test_the_demo_ends_with_table_ledger_picture_and_can_be_run_again(tmp_path: Path, environ: dict[str, str]):
    pytest.importorskip("sklearn")
    pytest.importorskip("mlflow")

    backends = [part for name in ("tensorboard", "csv", "mlflow") for part in ("--backend", name)]
    command = [sys.executable, "-m", "asynclogd", "run", "--dir", str(tmp_path), "--name", "demo", *backends, "--"]
    subprocess.run([*command, sys.executable, "-c", EARLIER_DEMO], env=environ, check=True)
    assert columns(tmp_path / "digits" / "demo")["train/loss"] == ["1.0"]
    command = [str(EXAMPLES / "demo.sh"), "--epochs", "2"]
    elsewhere = {**environ, "DEMO_OUT": str(tmp_path)}
    shown = subprocess.run(command, env=elsewhere, check=True, capture_output=True, text=True).stdout
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
    hints = [line.partition("#")[0].split() for line in shown.splitlines() if line.startswith("  asynclog ")]
    assert [hint[1] for hint in hints] == ["runs", "show", "status"]
    for hint in hints[:2]:
        told = subprocess.run(
            [sys.executable, "-m", "asynclogd", *hint[1:]], check=True, env=elsewhere, capture_output=True, text=True
        )
        assert "digits/demo" in told.stdout


@pytest.mark.torch
@pytest.mark.timeout(180)
def test_transformers_trainer_learns_and_its_metrics_are_there(tmp_path: Path, environ: dict[str, str]):
    pytest.importorskip("sklearn")
    pytest.importorskip("transformers")
    command = [sys.executable, str(EXAMPLES / "transformers_trainer.py")]
    subprocess.run(command, cwd=tmp_path, env=environ, check=True)
    (run,) = (tmp_path / "asynclog" / "digits-bert").iterdir()
    found = columns(run)
    assert len(found["train/loss"]) == 40
    assert len(found["eval/accuracy"]) == 4
    assert float(found["train/loss"][-1]) < 0.8 * float(found["train/loss"][0])


@pytest.mark.torch
@pytest.mark.timeout(180)
def test_accelerate_loop_reduces_two_processes(tmp_path: Path, environ: dict[str, str]):
    pytest.importorskip("sklearn")
    pytest.importorskip("accelerate")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, str(EXAMPLES / "accelerate_loop.py"), "--epochs", "2"]
    subprocess.run(command, cwd=tmp_path, env=environ, check=True)
    (run,) = (tmp_path / "asynclog" / "digits-accelerate").iterdir()
    found = columns(run)
    assert len(found["train/loss"]) == len(found["train/accuracy"]) == 2 * 29  # 57 batches, shared by two
    assert float(found["train/loss"][-1]) < float(found["train/loss"][0])


@pytest.mark.torch
@pytest.mark.timeout(180)
@pytest.mark.parametrize("start", ["alone", "devices", "torchrun"])
def test_lightning_learns_on_one_process_and_on_two(start: str, tmp_path: Path, environ: dict[str, str]):
    pytest.importorskip("sklearn")
    pytest.importorskip("lightning")
    script = [str(EXAMPLES / "lightning_digits.py"), "--epochs", "2"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = {
        "alone": [sys.executable, *script],
        "devices": [sys.executable, *script, "--devices", "2"],
        "torchrun": [sys.executable, "-m", "asynclogd", "run", "--", *torchrun, *script, "--devices", "2"],
    }[start]
    done = subprocess.run(command, cwd=tmp_path, env=environ, check=True, capture_output=True, text=True)
    run = tmp_path / "logs" / "digits" / "version_0"
    found = {name: [*map(float, column)] for name, column in cells(run / "metrics.csv").items()}
    steps = 89 if start == "alone" else STEPS_AN_EPOCH
    assert len(found["train/loss_step"]) == 2 * steps
    assert found["train/samples"] == [16.0 * steps if start == "alone" else 32.0 * steps] * 2
    assert found["train/loss_epoch"][1] < found["train/loss_epoch"][0]
    assert len(found["val/loss"]) == len(found["val/accuracy"]) == 2
    assert f"validation loss of all ranks: {found['val/loss'][-1]:.4f}" in done.stdout
    assert f"tensorboard --logdir {Path('logs/digits')}" in done.stdout
    assert "AsynclogWarning" not in done.stderr
    assert list(run.glob("checkpoints/*.ckpt"))
    assert [path.name for path in run.parent.iterdir()] == ["version_0"]
    if start == "torchrun":
        assert "values issued" in done.stdout + done.stderr


@pytest.mark.torch
@pytest.mark.timeout(180)
@pytest.mark.parametrize("start", ["alone", "devices", "torchrun"])
def test_fabric_learns_on_one_process_and_on_two(start: str, tmp_path: Path, environ: dict[str, str]):
    pytest.importorskip("sklearn")
    pytest.importorskip("lightning")
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    devices, steps = (1, 89) if start == "alone" else (2, STEPS_AN_EPOCH)
    script = [str(EXAMPLES / "fabric_digits.py"), "--epochs", "2", "--devices", str(devices)]
    command = [sys.executable, *(torchrun if start == "torchrun" else []), *script]
    done = subprocess.run(command, cwd=tmp_path, env=environ, check=True, capture_output=True, text=True)
    (run,) = (tmp_path / "logs" / "digits-fabric").iterdir()
    found = {name: [*map(float, column)] for name, column in cells(run / "metrics.csv").items()}
    assert len(found["train/loss"]) == 2 * steps
    assert found["train/samples"] == [16.0 * devices] * 2 * steps
    assert sum(found["train/loss"][-10:]) < sum(found["train/loss"][:10])
    assert len(found["val/accuracy"]) == 2
    assert f"validation accuracy of all ranks: {found['val/accuracy'][-1]:.4f}" in done.stdout
    assert "AsynclogWarning" not in done.stderr
    assert (run / "hparams.yaml").is_file()


@pytest.mark.torch
@pytest.mark.timeout(180)
def test_the_summary_writer_logs_every_kind(tmp_path: Path, environ: dict[str, str]):
    for module in ("torch", "sklearn", "matplotlib"):
        pytest.importorskip(module)
    command = [sys.executable, str(EXAMPLES / "summary_writer.py"), "--steps", "40"]
    done = subprocess.run(command, cwd=tmp_path, env=environ, check=True, capture_output=True, text=True)
    assert "AsynclogWarning" not in done.stderr
    (run,) = (tmp_path / "runs").iterdir()
    events = EventAccumulator(str(run)).Reload()
    tags = events.Tags()
    assert {"one digit", "digits", "boxed", "probabilities", "spin"} == set(tags["images"])
    assert (tags["audio"], tags["graph"], len(tags["histograms"])) == (["a tone"], True, 8)
    assert {"notes/text_summary", "is a 3", "a pyramid_VERTEX", "custom_scalars__config__"} < set(tags["tensors"])
    assert len(events.Scalars("train/loss")) == 80
    assert {path.name for path in run.iterdir() if path.is_dir()} >= {"lr=0.01", "lr=0.001", "accuracy of_low"}
    assert (run / "projector_config.pbtxt").is_file()
    assert f"tensorboard --logdir {run.parent.name}" in done.stdout


@pytest.mark.parametrize("script", ["digits_ddp.py", "plot_loss.py", "final_metrics.py", "summary_writer.py"])
def test_help_teaches(script: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    if script in {"digits_ddp.py", "summary_writer.py"}:
        pytest.importorskip("sklearn")
        pytest.importorskip("torch")
    monkeypatch.setattr(sys, "argv", [script, "--help"])
    monkeypatch.syspath_prepend(EXAMPLES)  # scripts import their neighbours
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(EXAMPLES / script), run_name="__main__")
    assert ended.value.code == 0
    told = capsys.readouterr().out
    assert script in told
    assert "default" in told or "run's folder" in told
