"""Lightning's Trainer on real digits: one line for the logger, and every rank's values are reduced in the files.

    python examples/lightning_digits.py                       # one process
    python examples/lightning_digits.py --devices 2           # Lightning starts the second one
    asynclog run -- torchrun --nproc-per-node 2 examples/lightning_digits.py --devices 2

Nothing here says sync_dist: the daemon makes the mean over ranks. ReducedMetrics brings val/loss back, so that the
checkpoint and the early stop are decided by the same number on all ranks. See ./logs/digits/version_<n>/ after it.
"""

from __future__ import annotations

import argparse
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

from asynclog.lightning import AsyncLogger, ReducedMetrics


class Digits(pl.LightningModule):
    """Two convolutions and a linear layer: (batch, 1, 8, 8) to (batch, 10)."""

    def __init__(self, lr: float, width: int = 16) -> None:  # noqa: ARG002 - in self.hparams
        super().__init__()
        self.save_hyperparameters()
        self.network = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(2 * width * 16, 10),
        )  # fmt: skip

    def training_step(self, batch: Any, index: int) -> torch.Tensor:  # noqa: ARG002 - Lightning's signature
        loss, accuracy = self.measured(batch)
        self.log("train/loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.log("train/accuracy", accuracy, on_step=False, on_epoch=True)
        self.log("train/samples", float(len(batch[1])), on_step=False, on_epoch=True, reduce_fx="sum")
        return loss

    def validation_step(self, batch: Any, index: int) -> None:  # noqa: ARG002 - as above
        loss, accuracy = self.measured(batch)
        self.log_dict({"val/loss": loss, "val/accuracy": accuracy}, prog_bar=True)

    def measured(self, batch: Any) -> tuple[torch.Tensor, torch.Tensor]:
        images, labels = batch
        logits = self.network(images)
        return nn.functional.cross_entropy(logits, labels), (logits.argmax(1) == labels).float().mean()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.AdamW(self.parameters(), self.hparams["lr"])
        schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "monitor": "val/loss"}}


def loaders(batch_size: int) -> tuple[Any, Any]:
    """1,797 hand-written digits, 8x8 pixels: 1,437 to train on, 360 to validate."""
    bunch = load_digits()
    images = torch.tensor(bunch.images, dtype=torch.float32).unsqueeze(1) / 16
    data = TensorDataset(images, torch.tensor(bunch.target))
    order = torch.randperm(len(data), generator=torch.Generator().manual_seed(0)).tolist()
    train = DataLoader(Subset(data, order[:1437]), batch_size, shuffle=True, drop_last=True)
    return train, DataLoader(Subset(data, order[1437:]), batch_size)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10, help="at most so many passes (default 10)")
    parser.add_argument("--devices", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--batch-size", type=int, default=16, help="images a rank sees in a step (default 16)")
    parser.add_argument("--lr", type=float, default=2e-3, help="learning rate to begin with (default 2e-3)")
    options = parser.parse_args()
    torch.set_num_threads(1)  # two ranks share a laptop's cores
    pl.seed_everything(0)
    logger = AsyncLogger("logs", name="digits")
    trainer = pl.Trainer(
        logger=logger,
        accelerator="cpu",
        devices=options.devices,
        max_epochs=options.epochs,
        log_every_n_steps=1,
        callbacks=[
            ReducedMetrics("val/loss"),
            EarlyStopping("val/loss", patience=3),
            ModelCheckpoint(monitor="val/loss"),
            LearningRateMonitor("step"),
        ],
    )
    trainer.fit(Digits(options.lr), *loaders(options.batch_size))
    loss = logger.reduced("val/loss").result(timeout=30)  # on every rank the same
    if trainer.is_global_zero:
        print(f"validation loss of all ranks: {loss:.4f}")
        print(f"  tensorboard --logdir {logger.root_dir}")
        print(f"  column -s, -t {logger.log_dir}/metrics.csv | less -S")


if __name__ == "__main__":
    main()
