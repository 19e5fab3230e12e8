"""One process: what a fit leaves is what Lightning's own loggers leave."""

from __future__ import annotations

import contextlib
import csv
import importlib
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asynclog import AsynclogWarning, Run
from asynclog_proto import places
from asynclogd import talk
from tests.client.lightning.modules import MARKS, AsyncLogger, fit, loader, module_class, rows, scalars, torch, trainer

pytestmark = MARKS


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
def test_event_files_rows_and_hparams_equal_lightnings_own(package: str, tmp_path: Path) -> None:
    loggers = importlib.import_module(package).loggers
    board = fit(loggers.TensorBoardLogger(tmp_path / "board"), package)
    table = fit(loggers.CSVLogger(tmp_path / "table"), package)
    ours = fit(AsyncLogger(tmp_path / "ours"), package)
    assert scalars(ours.log_dir) == scalars(board.log_dir)
    for file, other in (("metrics.csv", table), ("hparams.yaml", table), ("hparams.yaml", board)):
        assert Path(ours.log_dir, file).read_text() == Path(other.log_dir, file).read_text()
    relative = [Path(each.checkpoint_callback.best_model_path).relative_to(each.log_dir) for each in (board, ours)]
    assert relative[0] == relative[1]
    assert Path(ours.checkpoint_callback.best_model_path).is_file()


def test_the_nodes_own_metrics_are_not_in_lightnings_files_and_what_is_logged_under_such_names_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[..., None]
) -> None:
    monkeypatch.setenv("ASYNCLOG_HOST_METRICS_ENABLED", "true")
    monkeypatch.setenv("ASYNCLOG_HOST_METRICS_INTERVAL", "0.1")
    logger = AsyncLogger(tmp_path, backends=["tensorboard", "csv", "jsonl"])
    fit(logger)
    logger.log_metrics({"system/loss": 0.5}, step=100)
    lines = Path(logger.log_dir, "points.jsonl")
    eventually(
        lambda: lines.is_file() and "system/memory_percent" in lines.read_text(),
        what="the node's metrics are in a file that shows them",
    )
    logger.finalize("success")
    found = scalars(logger.log_dir)
    assert [name for name in found if name.startswith("system/")] == ["system/loss"]
    assert found["system/loss"] == [(100, 0.5)]
    table = rows(logger.log_dir)
    assert {name for row in table for name in row if name.startswith("system/")} == {"system/loss"}
    assert [row["system/loss"] for row in table if "system/loss" in row] == [0.5]
    assert "loss_step" in found


def test_several_loggers_at_once_get_the_same(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

    loggers: list[Any] = [TensorBoardLogger(tmp_path / "a"), AsyncLogger(tmp_path / "b"), CSVLogger(tmp_path / "c")]
    made = fit(loggers)
    assert scalars(loggers[1].log_dir) == scalars(loggers[0].log_dir)
    by_row = [sorted(map(sorted, map(dict.items, rows(logger.log_dir)))) for logger in loggers[1:]]
    assert by_row[0] == by_row[1]
    assert all(isinstance(value, float) for value in made.progress_bar_metrics.values())
    assert made.progress_bar_metrics["loss_step"] == pytest.approx(
        rows(loggers[1].log_dir)[-1].get("loss_step", 0), abs=1
    )


def test_files_are_whole_when_fit_returns_and_logging_goes_on_after_it(tmp_path: Path) -> None:
    logger = AsyncLogger(tmp_path)
    made = fit(logger)
    before = rows(logger.log_dir)
    assert before[-1]["epoch"] == 1
    made.test(module_class()(), loader(), verbose=False)
    made.validate(module_class()(), loader(), verbose=False)
    made.predict(module_class()(), loader())
    after = rows(logger.log_dir)
    assert after[: len(before)] == before
    assert "test_loss" in after[len(before)]
    assert scalars(logger.log_dir)["test_loss"][0][0] == after[len(before)]["step"]
    logger.log_metrics({"later": 1.0}, step=99)
    logger.finalize("success")
    assert rows(logger.log_dir)[-1] == {"later": 1.0, "step": 99}


def test_callbacks_that_log_reach_the_files(tmp_path: Path) -> None:
    from lightning.pytorch.callbacks import DeviceStatsMonitor, EarlyStopping, LearningRateMonitor, ModelCheckpoint
    from lightning.pytorch.loggers import CSVLogger

    def callbacks() -> list[Any]:
        stop = EarlyStopping("val_plain", min_delta=1e9, patience=0, mode="min")
        return [LearningRateMonitor(), DeviceStatsMonitor(cpu_stats=True), ModelCheckpoint(monitor="val_plain"), stop]

    one = fit(CSVLogger(tmp_path / "theirs"), callbacks=callbacks(), max_epochs=5)
    other = fit(AsyncLogger(tmp_path / "ours"), callbacks=callbacks(), max_epochs=5)
    assert other.current_epoch == one.current_epoch < 5
    found = [[sorted(row) for row in rows(each.log_dir)] for each in (one, other)]
    assert sorted(found[0]) == sorted(found[1])
    assert {"lr-SGD", "step"} in map(set, found[1])
    best = [each.checkpoint_callback.best_model_score for each in (one, other)]
    assert best[0] == best[1]


def test_reduce_on_plateau_sees_monitored_values(tmp_path: Path) -> None:
    model = module_class()()

    def configure() -> dict[str, object]:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, threshold=1e9)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_plain"}}

    model.configure_optimizers = configure
    made = trainer(AsyncLogger(tmp_path), max_epochs=3)
    made.fit(model, loader(), loader(16))
    assert made.optimizers[0].param_groups[0]["lr"] < 0.1


def test_a_failed_fit_ends_the_run_as_failed_and_its_values_are_there(tmp_path: Path) -> None:
    logger = AsyncLogger(tmp_path, backends=["csv", "jsonl"])
    model = module_class()()
    model.on_train_epoch_end = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        trainer(logger).fit(model, loader())
    lines = Path(logger.log_dir, "points.jsonl")
    assert lines.read_text().splitlines()[-1] == '{"end":"failed"}'
    assert rows(logger.log_dir)[-1]["step"] == 3
    logger.log_metrics({"later": 1.0}, step=99)  # which goes on in the same run
    logger.close()
    assert rows(logger.log_dir)[-1] == {"later": 1.0, "step": 99}
    assert lines.read_text().splitlines()[-1] == '{"end":"success"}'


def test_a_daemon_that_hangs_does_not_keep_a_fit_and_has_everything_when_it_goes_on(
    tmp_path: Path, runtime_dir: Path
) -> None:
    logger = AsyncLogger(tmp_path, finalize_timeout=1.0)
    logger.log_metrics({"before": 1.0}, 0)
    assert logger.run.flush(30)
    pid = talk.ask(places.endpoint(runtime_dir), "status", timeout=30)["daemon"]["pid"]
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.warns(AsynclogWarning, match="records are not journaled yet"):
            fit(logger)  # whose end waits for `finalize_timeout`
        logger.log_metrics({"later": 1.0}, step=99)
    finally:
        os.kill(pid, signal.SIGCONT)
    assert logger.run.flush(60)
    found = rows(logger.log_dir)
    assert found[-1] == {"later": 1.0, "step": 99}
    assert sum("loss_step" in row for row in found) == 5


def test_a_loader_whose_workers_have_the_logger_is_trained_on(tmp_path: Path) -> None:
    logger = AsyncLogger(tmp_path)

    class Logged(torch.utils.data.Dataset):  # type: ignore[misc]  # torch is not followed
        def __len__(self) -> int:
            return 16

        def __getitem__(self, index: int) -> Any:
            logger.log_metrics({"of a worker": 1.0}, index)  # which is no rank: what it logs is nobody's
            return (torch.ones(4),)

    made = trainer(logger, max_epochs=1, log_every_n_steps=1)
    made.fit(module_class()(), torch.utils.data.DataLoader(Logged(), batch_size=4, num_workers=2))
    table = rows(logger.log_dir)
    assert sum("loss_step" in row for row in table) == 4
    assert not any("of a worker" in row for row in table)


def test_a_fit_whose_directory_cannot_be_made_says_which(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match="file"):
        trainer(AsyncLogger(tmp_path / "file")).fit(module_class()(), loader())


@pytest.mark.parametrize(("finalize_timeout", "waits"), [(30.0, 5.0), (1.0, 1.0)])
def test_who_interrupts_a_fit_waits_no_longer_than_a_few_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, finalize_timeout: float, waits: float
) -> None:
    asked, finish = [], Run.finish

    def told(run: Run, status: str, timeout: float) -> Any:
        asked.append((status, timeout))
        return finish(run, status, timeout)

    monkeypatch.setattr(Run, "finish", told)
    logger = AsyncLogger(tmp_path, finalize_timeout=finalize_timeout)
    model = module_class()()

    def interrupt() -> None:
        raise KeyboardInterrupt

    model.on_train_epoch_end = interrupt
    with contextlib.suppress(KeyboardInterrupt, SystemExit):  # by Lightning's version: some return
        trainer(logger).fit(model, loader())
    assert asked == [("interrupted", waits)]


def test_another_loggers_file_in_a_version_is_set_aside_and_told(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger

    other = CSVLogger(tmp_path, version=3)
    other.log_metrics({"a": 1.0}, 0)
    other.save()
    with pytest.warns(AsynclogWarning, match="another logger's metrics.csv: it is kept as set-aside.metrics.csv"):
        logger = AsyncLogger(tmp_path, version=3)
        logger.log_metrics({"b": 2.0}, 0)
    logger.close()
    assert rows(logger.log_dir) == [{"b": 2.0, "step": 0.0}]
    assert Path(logger.log_dir, "set-aside.metrics.csv").read_text().splitlines() == ["a,step", "1.0,0"]


def test_a_fast_dev_run_and_no_logger_leave_nothing(tmp_path: Path) -> None:
    logger = AsyncLogger(tmp_path / "logs")
    fit(logger, fast_dev_run=True)
    logger.finalize("failed")
    assert not (tmp_path / "logs").exists()


def test_metrics_csv_is_as_the_guides_read_it(tmp_path: Path) -> None:
    made = fit(AsyncLogger(tmp_path))
    with Path(made.log_dir, "metrics.csv").open() as file:
        table = list(csv.DictReader(file))
    by_epoch = {int(row["epoch"]): float(row["loss_epoch"]) for row in table if row["loss_epoch"]}
    assert list(by_epoch) == [0, 1]
