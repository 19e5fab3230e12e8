"""No value is read on the training thread: a tensor that refuses to be read there takes the place of a GPU's."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from asynclog import AsynclogWarning
from tests.client.lightning.modules import MARKS, AsyncLogger, loader, module_class, rows, scalars, torch, trainer
from tests.client.lightning.test_ranks import PYTHON, TORCHRUN

pytestmark = MARKS

READS = ("item", "cpu", "__float__", "__int__", "__bool__", "tolist", "numpy")
TRAINING = threading.main_thread()
reads: list[str] = []


class Guarded(torch.Tensor):  # type: ignore[misc]  # torch is not followed
    """Fails when it is read on the training thread. What is computed with it is guarded too."""

    over = False
    """the training is: Lightning's spawning launcher reads all for the process that spawned"""


def _refusing(name: str) -> Any:
    def read(self: Any, *arguments: Any, **named: Any) -> Any:
        if threading.current_thread() is TRAINING and not Guarded.over:
            reads.append(name)
            raise AssertionError(f"{name} on the training thread")
        return getattr(torch.Tensor, name)(self.as_subclass(torch.Tensor), *arguments, **named)

    return read


for _name in READS:
    setattr(Guarded, _name, _refusing(_name))


@pytest.fixture(autouse=True)
def _no_reads() -> Iterator[None]:
    reads.clear()
    yield
    assert reads == []


def guarded_module(package: str = "lightning.pytorch") -> Any:
    class Model(module_class(package)):  # type: ignore[misc]  # made at run time
        def training_step(self, batch: Any, index: int) -> Any:
            loss = self.layer(batch[0]).square().mean()
            kept = loss.detach().as_subclass(Guarded)
            self.log("loss", kept, on_step=True, on_epoch=True, prog_bar=True)
            self.log("train/max", kept, on_step=False, on_epoch=True, reduce_fx="max", prog_bar=True)
            self.logger.log_metrics({"direct": kept, "plain": 1.0}, step=100 + self.global_step)
            self.log("later", kept)
            kept.zero_() if self.zeroed else None  # what was logged is what it was
            return loss

        def validation_step(self, batch: Any, index: int) -> None:
            kept = self.layer(batch[0]).square().mean().detach().as_subclass(Guarded)
            self.log("val_loss", kept, on_step=True, on_epoch=True, prog_bar=True)

        def on_after_backward(self) -> None:
            pass

    Model.zeroed = False
    return Model()


@pytest.mark.parametrize("package", ["lightning.pytorch", "pytorch_lightning"])
@pytest.mark.parametrize("bar", [False, True])
def test_a_whole_fit_reads_nothing_and_all_is_in_the_files(package: str, bar: bool, tmp_path: Path) -> None:
    logger = AsyncLogger(tmp_path)
    made = trainer(logger, package, log_every_n_steps=1, enable_progress_bar=bar, enable_checkpointing=False)
    model = guarded_module(package)
    model.zeroed = True
    made.fit(model, loader(), loader(16))
    found = scalars(logger.log_dir)
    assert [step for step, _ in found["loss_step"]] == [*range(10)]
    assert [step for step, _ in found["direct"]] == [*range(100, 110)]
    assert all(value > 0 for name in ("loss_step", "loss_epoch", "direct") for _, value in found[name])
    whole = [row for row in rows(logger.log_dir) if "loss_step" in row]
    assert all({"loss_step", "later", "epoch", "step"} == row.keys() for row in whole)
    assert made.progress_bar_metrics["loss_step"] == pytest.approx(found["loss_step"][-1][1])
    assert all(type(value) is float for value in made.progress_bar_metrics.values())


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("launcher", "strategy", "package"),
    [(TORCHRUN, "ddp", "lightning.pytorch"), (PYTHON, "ddp_spawn", "pytorch_lightning")],
    ids=["torchrun", "spawn"],
)
def test_two_ranks_read_nothing_and_all_is_reduced(
    launcher: tuple[str, ...], strategy: str, package: str, tmp_path: Path
) -> None:
    script = Path(__file__).with_name("train_guarded.py")
    command = [*launcher, str(script), str(tmp_path), strategy, package]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    assert "asynclog:" not in done.stderr
    ranks = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in range(2)]
    assert [rank["reads"] for rank in ranks] == [[], []]
    losses = [rank["losses"] for rank in ranks]
    assert losses[0] != losses[1]
    means = [sum(both) / 2 for both in zip(*losses, strict=True)]
    epochs = [means[:3], means[3:]]  # of 8, 8 and 4 samples on each rank
    wanted = {
        "loss_step": [*enumerate(means)],
        "later": [*enumerate(means)],
        "direct": [*enumerate(means, 100)],
        "loss_epoch": [(2 + 3 * number, (8 * a + 8 * b + 4 * c) / 20) for number, (a, b, c) in enumerate(epochs)],
        "train/max": [(2, max(max(each[:3]) for each in losses)), (5, max(max(each[3:]) for each in losses))],
    }
    found = scalars(tmp_path / "lightning_logs" / "version_0")
    for name, points in wanted.items():
        assert [step for step, _ in found[name]] == [step for step, _ in points], name
        assert [value for _, value in found[name]] == pytest.approx([value for _, value in points], rel=1e-5), name
    assert [step for step, _ in found["val_loss_epoch"]] == [2, 5]
    assert [rank["bar"]["loss_step"] for rank in ranks] == pytest.approx([each[-1] for each in losses])


class Counted(torch.Tensor):  # type: ignore[misc]  # as above
    """Counts how often it is made a float."""

    floats = 0

    def item(self) -> Any:
        Counted.floats += 1
        return self.as_subclass(torch.Tensor).item()


def test_other_loggers_beside_it_get_floats_that_are_made_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from lightning.pytorch.loggers import CSVLogger

    monkeypatch.setattr(Counted, "floats", 0)
    taken: list[dict[str, Any]] = []

    class Model(module_class()):  # type: ignore[misc]  # made at run time
        def training_step(self, batch: Any, index: int) -> Any:
            loss = super().training_step(batch, index)
            self.log("counted", loss.detach().as_subclass(Counted))
            return loss

    class Watching(CSVLogger):
        def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
            taken.append(dict(metrics))
            super().log_metrics(metrics, step)

    logger = AsyncLogger(tmp_path / "ours")
    made = trainer([logger, Watching(tmp_path / "a"), Watching(tmp_path / "b")], enable_checkpointing=False)
    made.fit(Model(), loader(), loader(16))
    assert {type(value) for metrics in taken for value in metrics.values()} == {float, int}
    assert taken[::2] == taken[1::2]
    assert Counted.floats == sum("counted" in metrics for metrics in taken[::2]) == 5


def test_a_lightning_that_has_changed_goes_its_own_way_with_one_warning(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from lightning.pytorch.trainer.connectors.logger_connector import result

    def renamed(self: Any, metric: Any, step: bool) -> Any:
        return old(self, metric, step)

    old = result._ResultCollection._forked_name
    monkeypatch.setattr(result._ResultCollection, "_forked_name", renamed)
    logger = AsyncLogger(tmp_path)
    with pytest.warns(AsynclogWarning, match="another _ResultCollection._forked_name than asynclog knows") as told:
        trainer(logger).fit(module_class()(), loader(), loader(16))
    assert sum(warning.category is AsynclogWarning for warning in told) == 1
    assert scalars(logger.log_dir)["loss_step"]


def test_the_callback_attaches_where_the_trainer_does_not_tell(tmp_path: Path) -> None:
    from asynclog.lightning import AsyncLogging

    logger = AsyncLogger(tmp_path)
    made = trainer(logger, enable_autolog_hparams=False, callbacks=[AsyncLogging()], enable_checkpointing=False)
    made.fit(guarded_module(), loader(), loader(16))
    assert scalars(logger.log_dir)["loss_step"]


def test_a_trainer_of_a_users_own_class_is_a_trainer(tmp_path: Path) -> None:
    import lightning.pytorch as pl

    class Own(pl.Trainer):
        pass

    logger = AsyncLogger(tmp_path)
    options: dict[str, Any] = {"enable_progress_bar": False, "enable_checkpointing": False, "accelerator": "cpu"}
    Own(logger=logger, max_epochs=1, log_every_n_steps=1, **options).fit(guarded_module(), loader(), loader(16))
    assert scalars(logger.log_dir)["loss_step"]


@pytest.mark.parametrize(("every", "checked"), [(1, [0, 1, 2, 3, 4, 5, 6]), (3, [0, 3, 6])])
def test_lightnings_sigterm_check_is_made_as_seldom_as_asked(
    every: int, checked: list[int], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = trainer(AsyncLogger(tmp_path, sigterm_check_every_n_steps=every))
    loop, batches = made.fit_loop.epoch_loop, [0]
    checks: list[int] = []
    monkeypatch.setattr(type(loop), "_broadcast_sigterm_tensor", lambda _: checks.append(batches[-1]))
    for _ in range(2):  # each fit begins to count anew, so that ranks agree whatever one of them did before
        checks.clear()
        made.logger.attach(made)
        for batch in range(7):
            batches.append(batch)
            loop._broadcast_sigterm_tensor()
        assert checks == checked


def test_a_guard_guards(tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match="item on the training thread"):
        torch.tensor(1.0).as_subclass(Guarded).item()
    reads.clear()
