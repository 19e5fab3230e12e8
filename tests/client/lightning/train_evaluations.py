"""Two ranks train, validate and test under Lightning, for the tests, one evaluating after the other has.

    train_evaluations.py OUT

First in OUT/theirs, where sync_dist=True reduces and Lightning's loggers write, and then the same values in OUT/ours.
"""

from __future__ import annotations

import sys
import time
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

from asynclog.lightning import AsyncLogger

torch.set_num_threads(1)


class Evaluated(pl.LightningModule):
    """`ours` is None where Lightning reduces."""

    def __init__(self, ours: AsyncLogger | None) -> None:
        super().__init__()
        self.ours = ours
        self.sync = ours is None
        self.layer = torch.nn.Linear(2, 1)
        self.evaluations = 0

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        value = torch.tensor(index + self.global_rank / 2)
        self.log("loss", value, on_step=True, on_epoch=True, sync_dist=self.sync)
        self.log("worst", value, on_step=True, on_epoch=True, reduce_fx="max", sync_dist=self.sync)
        return self.layer(batch[0]).square().mean()

    def evaluate(self, name: str, index: int) -> None:
        value = torch.tensor(10.0 * self.evaluations + index + self.global_rank)
        self.log(name, value, on_step=True, on_epoch=True, sync_dist=self.sync, batch_size=2)

    def validation_step(self, batch: Any, index: int) -> None:
        self.evaluate("val", index)

    def test_step(self, batch: Any, index: int) -> None:
        self.evaluate("test", index)

    def wait_until_journaled(self) -> None:
        """Until what this rank has logged is acked: then its ring is free."""
        assert self.ours is not None
        while self.ours.run._rows.ring.used:
            time.sleep(0.01)

    def wait_for_rank_0(self) -> None:
        """Rank 1 begins an evaluation when rank 0's values of it are journaled, and all of before."""
        self.evaluations += 1
        if self.sync or self.trainer.sanity_checking:
            return
        if self.global_rank == 1:
            self.wait_until_journaled()
            store = torch.distributed.distributed_c10d._get_default_store()
            store.wait([f"evaluated-{self.evaluations}"])

    on_validation_epoch_start = on_test_epoch_start = wait_for_rank_0

    def tell_rank_1(self) -> None:
        if not self.sync and not self.trainer.sanity_checking and self.global_rank == 0:
            self.wait_until_journaled()
            store = torch.distributed.distributed_c10d._get_default_store()
            store.set(f"evaluated-{self.evaluations}", b"")

    on_validation_epoch_end = on_test_epoch_end = tell_rank_1

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def loader(samples: int) -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(samples, 2)), batch_size=2)


def train(model: Evaluated, loggers: Any) -> None:
    trainer = pl.Trainer(
        logger=loggers, strategy="ddp", devices=2, accelerator="cpu", max_epochs=2, log_every_n_steps=1,
        enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    # An evaluation has more batches than the training has steps.
    trainer.fit(model, loader(12), loader(36))
    trainer.validate(model, loader(36), verbose=False)
    trainer.test(model, loader(12), verbose=False)
    trainer.test(model, loader(12), verbose=False)


def main() -> None:
    theirs, own = (f"{sys.argv[1]}/{whose}" for whose in ("theirs", "ours"))
    train(Evaluated(None), [CSVLogger(theirs, version=0), TensorBoardLogger(theirs, version=0)])
    ours = AsyncLogger(own, version=0)
    train(Evaluated(ours), ours)


if __name__ == "__main__":
    main()
