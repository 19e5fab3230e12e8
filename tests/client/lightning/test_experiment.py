"""`logger.experiment`: the idioms of Lightning's guide past `self.log`."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asynclog
from asynclog import AsynclogWarning
from tests.client.eventfiles import accumulated, values
from tests.client.lightning.modules import MARKS, AsyncLogger, loader, module_class, scalars, torch, trainer
from tests.hparamstab import hparams_tab

pytestmark = MARKS


def test_numbers_by_every_idiom(tmp_path: Path) -> None:
    logger = AsyncLogger(tmp_path, prefix="not-here")
    experiment = logger.experiment
    assert experiment is logger.experiment
    experiment.add_scalar("tb", 0.5, 3)
    experiment.add_scalar("tb/zero", 1.0)
    experiment.add_scalars("many", {"a": 1.0, "b": 2.0}, global_step=4, walltime=1.0)
    experiment.log({"wandb": 1.5, "deep": {"er": 2.5}}, step=5, commit=True)
    experiment.log_metric("custom", 0.25, step=6)
    experiment.log_metrics({"comet": 1.0}, step=7)
    experiment.add_hparams({"lr": 0.1}, {"hparam/accuracy": 0.9})
    experiment.flush()
    experiment.close()
    assert experiment.get_logdir() == experiment.log_dir == logger.log_dir
    assert experiment.run is logger.run
    logger.finalize("success")
    assert scalars(logger.log_dir) == {
        "tb": [(3, 0.5)], "tb/zero": [(0, 1.0)], "many/a": [(4, 1.0)], "many/b": [(4, 2.0)], "wandb": [(5, 1.5)],
        "deep/er": [(5, 2.5)], "custom": [(6, 0.25)], "comet": [(7, 1.0)], "hparam/accuracy": [(0, pytest.approx(0.9))],
    }  # fmt: skip


def test_media_by_every_idiom(tmp_path: Path) -> None:
    logger = AsyncLogger(tmp_path)
    experiment = logger.experiment
    image = np.linspace(0, 1, 48, dtype=np.float32).reshape(3, 4, 4)
    experiment.add_image("tb", image, 1)
    experiment.log({"wandb": asynclog.Image(image), "number": 0.5}, step=2)
    experiment.log_image("named", image, step=3)
    experiment.log_metric("metric", asynclog.Images(image[None]), step=4)
    experiment.add_text("note", "hello", 5)
    logger.finalize("success")
    assert {tag: step for tag, ((step, _, _),) in values(Path(logger.log_dir), "images").items()} == {
        "tb": 1, "wandb": 2, "named": 3, "metric": 4,
    }  # fmt: skip
    ((step, _, text),) = values(Path(logger.log_dir), "text")["note/text_summary"]
    assert (step, text.tolist()) == (5, [b"hello"])


def test_another_products_calls_are_told_once_and_drop(tmp_path: Path) -> None:
    experiment = AsyncLogger(tmp_path).experiment
    with pytest.warns(AsynclogWarning, match="log_artifact\\(\\) is dropped: it is another product's") as told:
        for _ in range(3):
            experiment.log_artifact("run id", "path")
    assert len(told) == 1
    with pytest.raises(AttributeError, match="no 'watch'"):
        experiment.watch()
    assert not hasattr(experiment, "__iter__")


def test_hyperparameters_that_are_written_by_hand_are_the_runs(tmp_path: Path) -> None:
    from torch.utils.tensorboard.summary import hparams

    logger = AsyncLogger(tmp_path / "logs", name="", version="run")
    for summary in hparams({"lr": 0.25}, {"acc": 0.5}):
        logger.experiment.file_writer.add_summary(summary)
    logger.close()
    assert hparams_tab(tmp_path / "logs")["run"][0] == {"lr": 0.25}


def test_other_ranks_have_one_that_swallows_everything(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lightning_utilities.core.rank_zero import rank_zero_only

    monkeypatch.setattr(rank_zero_only, "rank", 1)
    experiment = AsyncLogger(tmp_path / "logs").experiment
    experiment.add_image("a", 1, 2)
    experiment.log({"a": 1})
    experiment[0].add_scalar("b", 1)
    experiment["config"] = 1
    copy.copy(experiment)
    assert experiment
    with pytest.raises(TypeError):
        iter(experiment)
    assert not (tmp_path / "logs").exists()


def traceable() -> Any:
    class Traceable(module_class()):  # type: ignore[misc]  # chosen at run time
        def forward(self, batch: Any) -> Any:
            return self.layer(batch)

    return Traceable()


def test_the_graph_is_lightnings(tmp_path: Path) -> None:
    from lightning.pytorch.loggers import TensorBoardLogger

    loggers: list[Any] = [
        AsyncLogger(tmp_path / "ours", log_graph=True),
        TensorBoardLogger(tmp_path / "theirs", log_graph=True),
    ]
    model = traceable()
    model.example_input_array = torch.ones(2, 4)
    trainer(loggers, max_epochs=1, default_root_dir=tmp_path).fit(model, loader())
    ours, theirs = (accumulated(Path(logger.log_dir)).Graph() for logger in loggers)
    assert [node.name for node in ours.node] == [node.name for node in theirs.node] != []


@pytest.mark.parametrize(("example", "text"), [(None, "has no example_input_array"), ([1.0], "is of type list")])
def test_a_model_without_an_input_is_told_of_and_has_no_graph(tmp_path: Path, example: Any, text: str) -> None:
    model = torch.nn.Linear(1, 1)
    model.example_input_array = example
    with pytest.warns(AsynclogWarning, match=f"the model's graph is left out: .*{text}"):
        AsyncLogger(tmp_path, log_graph=True).log_graph(model)
