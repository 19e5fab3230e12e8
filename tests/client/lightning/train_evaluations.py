"""Two ranks train, validate and test under Lightning, for the tests, one evaluating after the other has.

    train_evaluations.py OUT ours | theirs

theirs: the same values, reduced by sync_dist=True, to Lightning's loggers.
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
OUT, WHOSE = sys.argv[1:3]
SYNC = WHOSE == "theirs"
OURS = AsyncLogger(OUT, version=0)


def wait_until_journaled() -> None:
    """Until what this rank has logged is acked: then its ring is free."""
    while OURS.run._rows.ring.used:
        time.sleep(0.01)


class Evaluated(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.evaluations = 0

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        value = torch.tensor(index + self.global_rank / 2)
        self.log("loss", value, on_step=True, on_epoch=True, sync_dist=SYNC)
        self.log("worst", value, on_step=True, on_epoch=True, reduce_fx="max", sync_dist=SYNC)
        return self.layer(batch[0]).square().mean()

    def evaluate(self, name: str, index: int) -> None:
        value = torch.tensor(10.0 * self.evaluations + index + self.global_rank)
        self.log(name, value, on_step=True, on_epoch=True, sync_dist=SYNC, batch_size=2)

    def validation_step(self, batch: Any, index: int) -> None:
        self.evaluate("val", index)

    def test_step(self, batch: Any, index: int) -> None:
        self.evaluate("test", index)

    def wait_for_rank_0(self) -> None:
        """Rank 1 begins an evaluation when rank 0's values of it are journaled, and all of before."""
        self.evaluations += 1
        if SYNC or self.trainer.sanity_checking:
            return
        if self.global_rank == 1:
            wait_until_journaled()
            store = torch.distributed.distributed_c10d._get_default_store()
            store.wait([f"evaluated-{self.evaluations}"])

    on_validation_epoch_start = on_test_epoch_start = wait_for_rank_0

    def tell_rank_1(self) -> None:
        if not SYNC and not self.trainer.sanity_checking and self.global_rank == 0:
            wait_until_journaled()
            store = torch.distributed.distributed_c10d._get_default_store()
            store.set(f"evaluated-{self.evaluations}", b"")

    on_validation_epoch_end = on_test_epoch_end = tell_rank_1

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def loader(samples: int) -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(samples, 2)), batch_size=2)


def main() -> None:
    trainer = pl.Trainer(
        logger=[CSVLogger(OUT, version=0), TensorBoardLogger(OUT, version=0)] if SYNC else OURS,
        strategy="ddp", devices=2, accelerator="cpu", max_epochs=2, log_every_n_steps=1, enable_progress_bar=False,
        enable_model_summary=False, enable_checkpointing=False,
    )  # fmt: skip
    model = Evaluated()
    # An evaluation has more batches than the training has steps.
    trainer.fit(model, loader(12), loader(36))
    trainer.validate(model, loader(36), verbose=False)
    trainer.test(model, loader(12), verbose=False)
    trainer.test(model, loader(12), verbose=False)


if __name__ == "__main__":
    main()
