"""What the Trainer, its callbacks and Fabric ask of a logger, without a training."""

from __future__ import annotations

import copy
import os
import pickle
import re
import threading
from argparse import Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from asynclog import AsynclogWarning
from tests.client.lightning.modules import MARKS, AsyncLogger, loader, module_class, rows, scalars, torch, trainer

pytestmark = MARKS


def test_building_a_logger_touches_nothing(tmp_path: Path) -> None:
    before = (dict(os.environ), threading.active_count())
    logger = AsyncLogger(tmp_path / "logs")
    assert (logger.save_dir, logger.name, logger.group_separator) == (str(tmp_path / "logs"), "lightning_logs", "/")
    assert logger.log_dir == str(tmp_path / "logs/lightning_logs/version_0")
    assert bool(logger)
    assert not hasattr(logger, "__iter__")
    logger.finalize("failed")
    assert (dict(os.environ), threading.active_count()) == before
    assert not (tmp_path / "logs").exists()


@pytest.mark.parametrize(
    ("options", "place"),
    [
        ({}, "lightning_logs/version_8"),
        ({"name": "", "version": 3}, "version_3"),
        ({"name": None, "version": "abc"}, "abc"),
        ({"name": "a/b", "version": 0, "sub_dir": "c"}, "a/b/version_0/c"),
    ],
)
def test_directories_are_tensorboardloggers(options: dict[str, Any], place: str, tmp_path: Path) -> None:
    from lightning.pytorch.loggers import TensorBoardLogger

    for name in ("version_2", "version_7", "version_x", "other"):
        (tmp_path / "lightning_logs" / name).mkdir(parents=True)
    (tmp_path / "lightning_logs" / "version_9").touch()
    ours, theirs = AsyncLogger(tmp_path, **options), TensorBoardLogger(tmp_path, **options)
    for what in ("name", "version", "save_dir", "root_dir", "log_dir", "sub_dir"):
        assert getattr(ours, what).rstrip("/") if what == "root_dir" else getattr(ours, what) == getattr(theirs, what)
    assert ours.log_dir == str(tmp_path / place)
    assert trainer(ours).log_dir == trainer(theirs).log_dir


def test_home_and_variables_are_expanded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WHERE", "here")
    assert AsyncLogger("~/$WHERE", version=1).log_dir == f"{tmp_path}/here/lightning_logs/version_1"


@pytest.mark.parametrize("used", [False, True])
def test_a_copy_goes_on_in_the_same_place(used: bool, tmp_path: Path) -> None:
    logger = AsyncLogger(tmp_path, prefix="p")
    if used:
        logger.log_metrics({"a": 1.0}, 0)
    copies = [copy.deepcopy(logger), pickle.loads(pickle.dumps(logger)), copy.copy(logger)]
    for number, each in enumerate(copies, 1):
        assert (each.log_dir, each.name, each.version) == (logger.log_dir, logger.name, logger.version)
        each.log_metrics({"a": 2.0}, number)
        each.close()
    logger.close()
    wanted = [(0, 1.0)] * used + [(number, 2.0) for number in (1, 2, 3)]
    assert sorted(scalars(logger.log_dir)["p-a"]) == wanted


def test_a_trainer_that_has_trained_can_be_pickled_and_train_on(tmp_path: Path) -> None:
    from tests.client.lightning.train_ranks import RankModel
    from tests.client.lightning.train_ranks import loader as ones

    made = trainer(AsyncLogger(tmp_path, sigterm_check_every_n_steps=3), max_epochs=1, enable_checkpointing=False)
    made.fit(RankModel(), ones())
    assert type(made._logger_connector).__name__ == "AsyncConnector"
    copied = pickle.loads(pickle.dumps(made))
    assert type(copied._logger_connector).__name__ == "_LoggerConnector"
    copied.fit_loop.max_epochs = 2
    copied.fit(RankModel(), ones())
    assert copied.logger.log_dir == made.logger.log_dir
    assert {row.get("epoch") for row in rows(made.log_dir)} >= {0.0, 1.0}


def test_values_of_every_kind_are_taken_at_the_call(tmp_path: Path) -> None:
    logger = AsyncLogger(tmp_path, prefix="x")
    tensor, metrics = torch.tensor(1.0), {"later": 1.0}
    logger.log_metrics({
        "float": 0.5, "int": 3, "bool": True, "np": np.float32(0.25), "np64": np.int64(7), "one": torch.tensor([2.0]),
        "bf16": torch.tensor(1.5, dtype=torch.bfloat16), "grad": torch.tensor(4.0, requires_grad=True),
        "tensor": tensor, "nan": float("nan"), "inf": float("-inf"), "nested": {"a": 1.0, "b": 2.0},
    }, 5)  # fmt: skip
    logger.log_metrics(metrics, 6)
    tensor.fill_(9.0)
    metrics["later"] = 9.0
    logger.log_metrics({"nostep": 1.0})
    logger.finalize("success")
    found = {name: points[0] for name, points in scalars(logger.log_dir).items()}
    nan = found.pop("x-nan")
    assert nan[0] == 5
    assert nan[1] != nan[1]
    assert found == {
        "x-float": (5, 0.5), "x-int": (5, 3.0), "x-bool": (5, 1.0), "x-np": (5, 0.25), "x-np64": (5, 7.0),
        "x-one": (5, 2.0), "x-bf16": (5, 1.5), "x-grad": (5, 4.0), "x-tensor": (5, 1.0), "x-inf": (5, float("-inf")),
        "x-nested/a": (5, 1.0), "x-nested/b": (5, 2.0), "x-later": (6, 1.0), "x-nostep": (7, 1.0),
    }  # fmt: skip


@dataclass
class Config:
    lr: float = 0.1
    depth: int = 2


@pytest.mark.parametrize(
    "params",
    [
        {"a": 1, "b": {"c": [1, 2], "d": None}, "f": len, "t": torch.nn.ReLU, "l": [{"x": 1}, {"x": 2}], 5: "five"},
        Namespace(a=1, b=Namespace(c="x")),
        {"config": Config(), "array": np.ones((2, 2)), "tensor": torch.ones(3), "scalar": np.float64(2)},
    ],
)
def test_hyperparameters_of_any_kind_are_kept_as_lightning_keeps_them(params: Any, tmp_path: Path) -> None:
    from lightning.pytorch.loggers import TensorBoardLogger

    ours, theirs = AsyncLogger(tmp_path / "ours"), TensorBoardLogger(tmp_path / "theirs")
    for logger in (ours, theirs):
        _ = logger.experiment
        logger.log_hyperparams(params)
        logger.log_hyperparams({"more": True})
        logger.save()
        logger.finalize("success")
    # A tensor is written with the address of a copy that Lightning makes for it: another one each time.
    ours_text, theirs_text = (
        re.sub(r"!!binary \|\n( +\S+\n)+", "", Path(logger.log_dir, "hparams.yaml").read_text())
        for logger in (ours, theirs)
    )
    assert ours_text == theirs_text
    assert "more: true" in ours_text
    assert scalars(ours.log_dir)["hp_metric"] == [(0, -1.0)]


def test_hp_metrics_are_what_was_given(tmp_path: Path) -> None:
    logger = AsyncLogger(tmp_path, default_hp_metric=False)
    logger.log_hyperparams({"lr": 0.1})
    logger.finalize("success")
    assert "hp_metric" not in scalars(logger.log_dir)
    logger.log_hyperparams({"lr": 0.2}, 0.75)
    logger.log_hyperparams({"lr": 0.3}, {"hp/acc": 0.5, "hp/loss": torch.tensor(2.0)})
    logger.log_hyperparams({}, {"hp/at": 1.0}, step=4)
    logger.finalize("finished")
    found = scalars(logger.log_dir)
    assert found["hp_metric"] == [(0, 0.75)]
    assert (found["hp/acc"], found["hp/loss"], found["hp/at"]) == ([(0, 0.5)], [(0, 2.0)], [(4, 1.0)])
    assert yaml.safe_load(Path(logger.log_dir, "hparams.yaml").read_text()) == {"lr": 0.3}


def test_a_version_that_exists_goes_on_and_says_so(tmp_path: Path) -> None:
    first = AsyncLogger(tmp_path, version=3)
    first.log_metrics({"a": 1.0}, 0)
    first.close()
    with pytest.warns(AsynclogWarning, match="version_3 has a run already: it goes on"):
        second = AsyncLogger(tmp_path, version=3)
        second.log_metrics({"a": 2.0}, 1)
    second.close()
    assert scalars(second.log_dir)["a"] == [(0, 1.0), (1, 2.0)]


def test_bad_input_is_told(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="save_dir 's3://bucket' is remote"):
        AsyncLogger("s3://bucket")
    with pytest.raises(ValueError, match="no backend 'tensorbord' \\(did you mean 'tensorboard'"):
        AsyncLogger(tmp_path, backends=["tensorbord"])
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        _ = AsyncLogger(tmp_path / "file").experiment
    logger = AsyncLogger(tmp_path)
    with pytest.warns(AsynclogWarning, match="'a' is the text 'x': texts belong in params"):
        logger.log_metrics({"a": "x", "b": 1.0}, 0)
    with pytest.warns(AsynclogWarning, match="takes a mapping of names to numbers, not list"):
        logger.log_metrics([1.0], 0)  # type: ignore[arg-type]
    with pytest.warns(AsynclogWarning, match="'c' has shape \\(3,\\)"):
        logger.log_metrics({"c": torch.ones(3)}, 0)
    logger.close()
    assert list(scalars(logger.log_dir)) == ["b"]
    with pytest.raises(TypeError, match="hyperparameters are a mapping"):
        logger.log_hyperparams(["lr"])
    strict = AsyncLogger(tmp_path, strict=True)
    with pytest.raises(TypeError, match="'a' is the text"):
        strict.log_metrics({"a": "x"}, 0)


def test_lightnings_own_errors_are_its_own(tmp_path: Path) -> None:
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    model = module_class()()
    for values, error in ((torch.ones(2), ValueError), (None, ValueError)):
        model.on_train_batch_start = lambda *_, values=values: model.log("bad", values)
        with pytest.raises(error):
            trainer(AsyncLogger(tmp_path)).fit(model, loader())
    model = module_class()()
    model.on_train_batch_start = lambda *_: (model.log("x", 1.0), model.log("x", 1.0, prog_bar=True))
    with pytest.raises(MisconfigurationException, match="twice in `on_train_batch_start` with different arguments"):
        trainer(AsyncLogger(tmp_path)).fit(model, loader())


@pytest.mark.parametrize("package", ["lightning.fabric", "lightning_fabric"])
def test_fabric(package: str, tmp_path: Path) -> None:
    import importlib

    logger = AsyncLogger(tmp_path)
    fabric = importlib.import_module(package).Fabric(accelerator="cpu", devices=1, loggers=logger)
    fabric.launch()
    assert fabric.logger is logger
    for step in range(3):
        fabric.log("loss", torch.tensor(step / 2), step=step)
    fabric.log_dict({"a": 1.0, "b": 2})
    logger.log_hyperparams({"lr": 0.1})
    logger.finalize("success")
    found = scalars(logger.log_dir)
    assert found["loss"] == [(0, 0.0), (1, 0.5), (2, 1.0)]
    assert (found["a"], found["b"]) == ([(3, 1.0)], [(3, 2.0)])


def test_a_reduced_value_is_asked_by_epoch(tmp_path: Path) -> None:
    logger = AsyncLogger(tmp_path, prefix="p")
    for epoch in range(3):
        for step in range(2):
            logger.log_metrics({"val_loss": epoch + step / 2, "epoch": epoch}, 2 * epoch + step)
    assert logger.reduced("val_loss").result(30) == 2.5
    assert logger.reduced("val_loss", epoch=1).result(30) == 1.5
    assert logger.reduced("val_loss", step=2).result(30) == 1.0
    with pytest.raises(KeyError, match="'val_loss' was not logged in epoch 7"):
        logger.reduced("val_loss", epoch=7)
    with pytest.raises(KeyError, match=r"'val' was not logged in epoch 1 .* Did you mean 'val_loss'\?"):
        logger.reduced("val", epoch=1)
