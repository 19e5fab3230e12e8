"""Two ranks whose ReducedMetrics could not do its work: each case's error, as each rank sees it.

    train_refused.py OUT

Under torchrun: a case that fails leaves the ranks for the next one.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger

from asynclog.lightning import AsyncLogger, ReducedMetrics

torch.set_num_threads(1)
ranks = importlib.import_module("train_ranks")  # beside this script


class Small(pl.LightningModule):
    def __init__(self, only: int | None = None) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.only = only

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        loss = self.layer(batch[0]).square().mean()
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch: Any, index: int) -> None:
        value = torch.tensor(float(self.global_rank))
        self.log("val_loss", value)
        if self.only in (None, self.global_rank):
            self.log("val_some", value)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def attempt(case: str, name: str, logger: Any, *, only: int | None = None, validates: bool = True) -> None:
    """Fit, and write what became of it."""
    callbacks: list[Any] = [ReducedMetrics(name), EarlyStopping(name), ModelCheckpoint(monitor=name)]
    trainer = pl.Trainer(
        logger=logger, strategy="ddp", devices=2, accelerator="cpu", max_epochs=1, callbacks=callbacks,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    said = "nothing"
    try:
        trainer.fit(Small(only), ranks.loader(), ranks.loader() if validates else None)
    except MisconfigurationException as error:
        said = str(error)
    # In one write, which another process can't get into: unbuffered, print makes several.
    sys.stdout.write(f"{case}|{trainer.global_rank}|{trainer.fit_loop.epoch_loop.global_step}|{said}\n")
    sys.stdout.flush()


def main() -> None:
    out = sys.argv[1]
    attempt("mistyped", "val_lost", AsyncLogger(out))
    attempt("of training", "train_loss", AsyncLogger(out))
    attempt("on one rank", "val_some", AsyncLogger(out), only=1)
    attempt("no logger", "val_loss", CSVLogger(out))
    leads = torch.distributed.get_rank() == 0
    attempt("logger on one rank", "val_loss", AsyncLogger(out) if leads else CSVLogger(out))
    attempt("no validation", "val_loss", AsyncLogger(out), validates=False)
    attempt("well", "val_loss", AsyncLogger(out))
    ranks.change()
    attempt("changed", "val_loss", AsyncLogger(out))


if __name__ == "__main__":
    main()
