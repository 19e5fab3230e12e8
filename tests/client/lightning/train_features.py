"""One or two ranks train with the rest of what Lightning's guide shows, for the tests, beside Lightning's own loggers.

    train_features.py OUT STRATEGY RANKS

What ranks reduce is there twice, as NAME by us and as NAME_synced by Lightning. OUT/after_fit is a copy of OUT that
rank 0 makes as soon as fit has returned. Then there is a predict with the same loggers, and at last a value is logged.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
import torchmetrics
from lightning.pytorch.callbacks import DeviceStatsMonitor
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from matplotlib.figure import Figure

from asynclog.lightning import AsyncLogger

EXAMPLES = Path(__file__).parents[3] / "examples"
sys.path.insert(0, str(EXAMPLES))
from custom_backend import TableBackend  # noqa: E402 - found by the path above

torch.set_num_threads(1)


class Featured(pl.LightningModule):
    def __init__(self, out: str, lr: float = 0.1, layers: tuple[int, ...] = (2, 1)) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.out, self.lr = Path(out), lr
        self.layer = torch.nn.Linear(2, 1)
        self.error = torchmetrics.MeanSquaredError()
        self.example_input_array = torch.ones(1, 2)

    def forward(self, batch: torch.Tensor) -> Any:
        return self.layer(batch)

    def log_both(self, metrics: dict[str, torch.Tensor], **options: Any) -> None:
        self.log_dict(metrics, **options)
        self.log_dict({f"{name}_synced": value for name, value in metrics.items()}, sync_dist=True, **options)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        value = torch.tensor((self.global_rank + 1) * 0.7 + index / 3)
        forked: dict[str, Any] = {"on_step": True, "on_epoch": True}
        self.log_both({"worst": value}, reduce_fx=torch.max, **forked)
        self.log_both({"least": value}, reduce_fx=torch.min, **forked)
        self.log_both({"most": value, "more": value - 9}, reduce_fx=max, **forked)
        self.log_both({"bar": value}, prog_bar=True, **forked)
        self.log_both({f"task_{index % 4 // 2}": value}, **forked)
        self.log("quiet", value, logger=False, prog_bar=True, on_step=True)
        self.error(value.repeat(1 + self.global_rank), torch.zeros(1 + self.global_rank))
        self.log("error", self.error, **forked)
        if index == 1:
            self.by_experiment(self.global_step)
        return self.layer(batch[0]).square().mean()

    def by_experiment(self, step: int) -> None:
        """On both ranks, with numbers by which one tells whose they are."""
        value = 10.0 * self.global_rank + step
        loggers: list[Any] = self.loggers
        ours, board = (logger.experiment for logger in loggers[:2])
        figure = Figure()
        figure.add_subplot().plot([0, value])
        for experiment in (ours, board):
            experiment.add_scalar("experiment/scalar", value, step)
            experiment.add_image("image", torch.full((3, 4, 5), value / 100), step)
            experiment.add_histogram("histogram", torch.arange(value + 2), step)
            experiment.add_figure("figure", figure, step)
            experiment.add_audio("audio", torch.linspace(0, value / 100, 80), step, sample_rate=8000)
            experiment.add_text("text", f"value {value}", step)
        ours.log({"experiment/log": value, "experiment": {"deep": value}}, step=step)
        ours.log_metric("experiment/metric", value, step=step)

    def on_after_backward(self) -> None:
        norms = [p.grad.norm() for p in self.parameters() if p.grad is not None]
        self.log("grad_norm", torch.stack(norms).norm())

    def validation_step(self, batch: Any, index: int, dataloader_idx: int = 0) -> None:
        value = torch.tensor(float(index - self.global_rank + 10 * dataloader_idx))
        options = {"on_step": True, "on_epoch": True, "batch_size": 1 + self.global_rank}
        self.log_both({"val": value}, **options)
        self.log_both({f"val_of_{dataloader_idx}": value}, add_dataloader_idx=False, **options)

    def on_train_end(self) -> None:
        bar = self.trainer.progress_bar_metrics
        (self.out / f"bar-{self.global_rank}.json").write_text(json.dumps(bar))

    def predict_step(self, batch: Any, index: int) -> torch.Tensor:
        return self.layer(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=self.lr)


def loader(batches: int) -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(2 * batches, 2)), batch_size=2)


def main() -> None:
    out, strategy, ranks = sys.argv[1:]
    named = {"class": f"{EXAMPLES / 'custom_backend.py'}:TableBackend", "file": "named.sqlite"}
    backends = {"tensorboard": None, "csv": None, "instance": TableBackend(), "named": named}
    ours = AsyncLogger(f"{out}/ours", prefix="p", backends=backends, log_graph=True)
    board = TensorBoardLogger(f"{out}/theirs", version=0, prefix="p", log_graph=True)
    theirs = [board, CSVLogger(f"{out}/theirs", version=0, prefix="p")]
    trainer = pl.Trainer(
        logger=[ours, *theirs], strategy=strategy, devices=int(ranks), accelerator="cpu", max_epochs=2,
        log_every_n_steps=2, callbacks=[DeviceStatsMonitor(cpu_stats=True)], enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    model = Featured(out)
    each = trainer.world_size
    trainer.fit(model, loader(6 * each), [loader(6 * each), loader(2 * each)])
    if trainer.global_rank == 0:
        shutil.copytree(out, f"{out}/after_fit", ignore=shutil.ignore_patterns("after_fit"))
    trainer.predict(model, loader(6 * each), return_predictions=False)
    ours.log_metrics({"later": 1.0 + trainer.global_rank}, 99)
    ours.finalize("success")


if __name__ == "__main__":
    main()
