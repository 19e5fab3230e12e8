"""Evaluations: their steps on several ranks, and in a run that exists."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from asynclog.notices import AsynclogWarning
from tests.client.lightning.modules import MARKS, AsyncLogger, close, loader, module_class, rows, scalars, trainer
from tests.client.lightning.test_ranks import TORCHRUN

pytestmark = [*MARKS, pytest.mark.timeout(240)]

SCRIPT = Path(__file__).with_name("train_evaluations.py")


def own_rows(log_dir: Path) -> list[list[tuple[str, float]]]:
    """The rows of metrics.csv without the machine's samples, sorted."""
    found = [{name: value for name, value in row.items() if not name.startswith("system/")} for row in rows(log_dir)]
    return sorted(sorted(row.items()) for row in found if set(row) - {"step"})


def own_scalars(log_dir: Path) -> dict[str, list[tuple[int, float]]]:
    return {name: sorted(points) for name, points in scalars(log_dir).items() if not name.startswith("system/")}


def test_ranks_that_evaluate_at_different_times_give_one_point_a_batch(tmp_path: Path) -> None:
    done = subprocess.run(
        [*TORCHRUN, str(SCRIPT), str(tmp_path)], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "asynclog:" not in done.stderr
    log_dirs = {whose: tmp_path / whose / "lightning_logs" / "version_0" for whose in ("theirs", "ours")}
    ours, theirs = own_scalars(log_dirs["ours"]), own_scalars(log_dirs["theirs"])
    assert ours.keys() == theirs.keys()
    for name, points in theirs.items():
        assert [step for step, _ in ours[name]] == [step for step, _ in points], name
        assert all(close(a, b) for (_, a), (_, b) in zip(ours[name], points, strict=True)), name
    assert own_rows(log_dirs["ours"]) == own_rows(log_dirs["theirs"])


def goes_on(log_dir: str | Path, task: str, **options: Any) -> None:
    """Another logger in the directory, as in another process."""
    with pytest.warns(AsynclogWarning, match="has a run already"):
        logger = AsyncLogger(log_dir, version=0, backends=["tensorboard", "csv", "jsonl", "mlflow"])
        given: dict[str, Any] = {"max_epochs": 3} if task == "fit" else {}
        getattr(trainer(logger, enable_checkpointing=False, **given), task)(module_class()(), loader(), **options)
        logger.close()


def mlflow_points(log_dir: Path, name: str) -> set[int]:
    mlflow = pytest.importorskip("mlflow")
    (file,) = log_dir.rglob("mlflow.db")
    client = mlflow.MlflowClient(tracking_uri=f"sqlite:///{file}")
    (run,) = client.search_runs([each.experiment_id for each in client.search_experiments()])
    return {metric.step for metric in client.get_metric_history(run.info.run_id, name)}


def test_a_test_in_another_process_adds_to_what_was_trained_and_a_resumed_fit_replaces_it(tmp_path: Path) -> None:
    logger = AsyncLogger(tmp_path, version=0, backends=["tensorboard", "csv", "jsonl", "mlflow"])
    first = trainer(logger, max_epochs=1)
    first.fit(module_class()(), loader(), loader(16))
    checkpoint = tmp_path / "first.ckpt"
    first.save_checkpoint(checkpoint)
    first.fit_loop.max_epochs = 2
    first.fit(module_class()(), loader(), loader(16))
    logger.close()
    log_dir = Path(logger.log_dir)
    points, lines = own_scalars(log_dir), own_rows(log_dir)
    assert [step for step, _ in points["loss_step"]] == [1, 3, 5, 7, 9]

    for _ in range(2):
        goes_on(tmp_path, "test")
    after = own_scalars(log_dir)
    assert {name: after[name] for name in points if name != "epoch"} == {
        name: points[name] for name in points if name != "epoch"
    }
    assert set(after["epoch"]) >= set(points["epoch"])
    assert [step for step, _ in after["test_loss"]] == [0, 0]
    assert [line for line in own_rows(log_dir) if "test_loss" not in dict(line)] == lines
    assert "rewind" not in (log_dir / "points.jsonl").read_text()
    assert mlflow_points(log_dir, "loss_step") == {1, 3, 5, 7, 9}

    goes_on(tmp_path, "fit", ckpt_path=checkpoint)
    resumed = own_scalars(log_dir)
    assert [step for step, _ in resumed["loss_step"]] == [1, 3, 5, 7, 9, 11, 13]
    assert [step for step, _ in resumed["loss_epoch"]] == [4, 9, 14]
    assert [step for step, _ in resumed["test_loss"]] == [0, 0]
    assert [step for step, _ in resumed["val_plain"]] == [4]  # the second fit's is superseded, and the third has none
    rewinds = [json.loads(line) for line in (log_dir / "points.jsonl").read_text().splitlines() if "rewind" in line]
    assert rewinds == [{"rewind": 5, "generation": 3}]


def test_backends_may_be_a_mapping_of_names_to_options(tmp_path: Path) -> None:
    options: dict[str, object] = {"csv": None, "jsonl": {"subdir": "lines"}}
    logger = AsyncLogger(tmp_path, backends=options)
    logger.log_metrics({"a": 1.0}, 0)
    logger.close()
    assert Path(logger.log_dir, "lines", "points.jsonl").is_file()
