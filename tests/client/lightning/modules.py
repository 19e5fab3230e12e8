"""A small model that logs in every way, and what it leaves, read with the products' own readers."""

from __future__ import annotations

import csv
import importlib
import math
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning")

from asynclog.lightning import AsyncLogger  # noqa: E402 - what is missing above skips the file

__all__ = ["MARKS", "AsyncLogger", "fit", "loader", "module_class", "rows", "scalars", "trainer"]

MARKS = [
    pytest.mark.torch,
    pytest.mark.filterwarnings("default"),  # Lightning warns of few workers, of torch's deprecations, ...
    pytest.mark.filterwarnings("error::asynclog.AsynclogWarning"),
]


def module_class(package: str = "lightning.pytorch") -> Any:
    """The model as a LightningModule of `package`."""
    pl = importlib.import_module(package)
    torchmetrics = importlib.import_module("torchmetrics")

    class Model(pl.LightningModule):  # type: ignore[misc,name-defined]  # chosen at run time
        def __init__(self, lr: float = 0.1, layers: tuple[int, ...] = (4, 1), optimizer: Any = None) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(4, 1)
            self.error = torchmetrics.MeanSquaredError()

        def training_step(self, batch: Any, index: int) -> Any:
            predicted = self.layer(batch[0])
            loss = predicted.square().mean()
            self.log("loss", loss, on_step=True, on_epoch=True, prog_bar=True)
            self.log("train/sum", loss, on_step=False, on_epoch=True, reduce_fx="sum")
            self.log("train/max", loss, on_step=False, on_epoch=True, reduce_fx=torch.max)
            self.log("train/min", loss, on_step=False, on_epoch=True, reduce_fx=min)
            self.log_dict({"number": float(index), "synced": loss}, sync_dist=True)
            self.log("quiet", loss, logger=False)
            if index % 2:
                self.log("odd", loss, batch_size=3)
            self.error(predicted, torch.zeros_like(predicted))
            self.log("mse", self.error, on_step=True, on_epoch=True)
            return loss

        def on_after_backward(self) -> None:
            norms = [p.grad.norm() for p in self.parameters() if p.grad is not None]
            self.log("grad_norm", torch.stack(norms).norm(), rank_zero_only=True)

        def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
            loss = self.layer(batch[0]).square().mean() + dataloader_idx
            self.log("val_loss", loss, on_step=True, on_epoch=True, prog_bar=True)
            self.log("val_plain", loss, add_dataloader_idx=False) if dataloader_idx == 0 else None

        def test_step(self, batch: Any, index: int) -> None:
            self.log("test_loss", self.layer(batch[0]).square().mean())

        def predict_step(self, batch: Any, index: int) -> Any:
            return self.layer(batch[0])

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=self.hparams.lr)

    return Model


def loader(samples: int = 40, batch: int = 8) -> Any:
    """A DataLoader of fixed numbers."""
    data = torch.randn(samples, 4, generator=torch.Generator().manual_seed(0))
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(data), batch_size=batch)


def trainer(logger: Any, package: str = "lightning.pytorch", **options: Any) -> Any:
    """A Trainer on the CPU that says nothing."""
    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    given = {"max_epochs": 2, "log_every_n_steps": 2, **quiet, **options}
    return importlib.import_module(package).Trainer(logger=logger, **given)


def fit(logger: Any, package: str = "lightning.pytorch", **options: Any) -> Any:
    """Train the model from one seed; the Trainer."""
    torch.manual_seed(1)
    model = module_class(package)()
    made = trainer(logger, package, **options)
    made.fit(model, loader(), [loader(16), loader(20)])
    return made


def scalars(directory: str | Path) -> dict[str, list[tuple[int, float]]]:
    """Every series of a directory's event files, in order: tag -> (step, value)."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(directory), size_guidance={"scalars": 0}).Reload()
    return {tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def rows(directory: str | Path) -> list[dict[str, float]]:
    """The rows of metrics.csv as they are, blanks left out."""
    with Path(directory, "metrics.csv").open(newline="") as file:
        return [{name: float(cell) for name, cell in row.items() if cell != ""} for row in csv.DictReader(file)]


def close(one: float, other: float) -> bool:
    """Equal as float32, NaN like NaN."""
    return math.isclose(one, other, rel_tol=2e-6) or (one != one and other != other)  # noqa: PLR0124 - NaN
