"""`logger.experiment`: the idioms of Lightning's guide past `self.log`."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from asynclog import AsynclogWarning
from tests.client.lightning.modules import MARKS, AsyncLogger, scalars

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
    experiment.add_text("note", "hello")
    experiment.flush()
    experiment.close()
    assert experiment.get_logdir() == experiment.log_dir == logger.log_dir
    assert experiment.run is logger.run
    logger.finalize("success")
    assert scalars(logger.log_dir) == {
        "tb": [(3, 0.5)], "tb/zero": [(0, 1.0)], "many/a": [(4, 1.0)], "many/b": [(4, 2.0)], "wandb": [(5, 1.5)],
        "deep/er": [(5, 2.5)], "custom": [(6, 0.25)], "comet": [(7, 1.0)], "hparam/accuracy": [(0, pytest.approx(0.9))],
    }  # fmt: skip


def test_what_comes_later_is_told_once_and_drops(tmp_path: Path) -> None:
    experiment = AsyncLogger(tmp_path).experiment
    with pytest.warns(
        AsynclogWarning, match="add_image\\('a', ...\\) is dropped: images, .* come with a later"
    ) as told:
        for _ in range(3):
            experiment.add_image("a", object(), 0)
    assert len(told) == 1
    with pytest.raises(AttributeError, match="no 'watch'"):
        experiment.watch()
    assert not hasattr(experiment, "__iter__")


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


def test_the_graph_comes_later(tmp_path: Path) -> None:
    import torch

    with pytest.warns(AsynclogWarning, match="graphs come with a later release"):
        AsyncLogger(tmp_path, log_graph=True).log_graph(torch.nn.Linear(1, 1))
