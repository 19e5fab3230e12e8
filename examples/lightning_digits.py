"""Lightning on real digits, with asynclog in TensorBoardLogger's place.

    python examples/lightning_digits.py                  # one process
    python examples/lightning_digits.py --devices 2      # two ranks, reduced without sync_dist

Look at ./logs/digits/version_0/ after it: event files, metrics.csv, hparams.yaml, checkpoints, and the journal.
"""

from __future__ import annotations

import argparse
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset, random_split
from torchmetrics.classification import MulticlassAccuracy

from asynclog.lightning import AsyncLogger, ReducedMetrics


class Digits(pl.LightningModule):
    """A small network: (batch, 64) pixels in 0..1 to (batch, 10)."""

    def __init__(self, lr: float = 0.003, width: int = 64) -> None:  # noqa: ARG002 - save_hyperparameters sees it
        super().__init__()
        self.save_hyperparameters()
        self.network = nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))
        self.accuracy = MulticlassAccuracy(10)

    def training_step(self, batch: Any, _: int) -> Any:
        images, labels = batch
        loss = nn.functional.cross_entropy(self.network(images), labels)
        self.log("train/loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, _: int) -> None:
        images, labels = batch
        scores = self.network(images)
        self.accuracy(scores, labels)
        self.log("val/loss", nn.functional.cross_entropy(scores, labels))  # no sync_dist: the daemon reduces it
        self.log("val/accuracy", self.accuracy, prog_bar=True)

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams["lr"])
        return [optimizer], [torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--devices", type=int, default=1, help="ranks, on the CPU")
    parser.add_argument("--out", default="logs", help="where the experiment's directory is")
    options = parser.parse_args()

    pl.seed_everything(0)
    bunch = load_digits()
    data = TensorDataset(torch.tensor(bunch.data, dtype=torch.float32) / 16, torch.tensor(bunch.target))
    training, validation = random_split(data, [1437, 360])
    logger = AsyncLogger(options.out, name="digits", per_rank="train/loss_step")
    trainer = pl.Trainer(
        logger=logger,
        max_epochs=options.epochs,
        log_every_n_steps=1,
        accelerator="cpu",
        devices=options.devices,
        strategy="ddp" if options.devices > 1 else "auto",
        callbacks=[
            LearningRateMonitor(),
            ReducedMetrics("val/loss"),  # so that these two decide by the same value on every rank
            EarlyStopping("val/loss", patience=3),
            ModelCheckpoint(monitor="val/loss"),
        ],
        enable_progress_bar=False,
    )
    trainer.fit(Digits(), DataLoader(training, 32, shuffle=True), DataLoader(validation, 90))
    if trainer.is_global_zero:
        print(f"val/accuracy {float(trainer.callback_metrics['val/accuracy']):.3f}, in {logger.log_dir}")


if __name__ == "__main__":
    main()
