"""Two ranks train under Lightning, for the tests: every value twice, once reduced by Lightning (sync_dist), once by us.

    train_ranks.py OUT STRATEGY [changed]

The logger is used before the fit, and after it, for a validation and a test too. changed: by a Lightning that asynclog
does not know.
"""

from __future__ import annotations

import sys
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger
from lightning.pytorch.trainer.connectors.logger_connector import result

from asynclog.lightning import AsyncLogger

torch.set_num_threads(1)


class RankModel(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(2, 1)

    def log_both(self, name: str, value: torch.Tensor, **options: Any) -> None:
        self.log(name, value, **options)
        self.log(f"{name}_synced", value, sync_dist=True, **options)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        value = torch.tensor((self.global_rank + 1) * 0.7 + index / 3)
        for reduce in ("mean", "sum", "max", "min"):
            seen = 1 + index + 2 * self.global_rank
            self.log_both(reduce, value, on_step=True, on_epoch=True, reduce_fx=reduce, batch_size=seen)
        self.log("lead", value, rank_zero_only=True)
        if self.global_rank == 1:
            self.log("odd", value, on_step=True)
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch: Any, index: int) -> None:
        value = torch.tensor(float(index - self.global_rank))
        self.log_both("val", value, on_step=True, on_epoch=True, batch_size=1 + self.global_rank)

    def test_step(self, batch: Any, index: int) -> None:
        self.log_both("test", torch.tensor(float(index - self.global_rank)))

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def loader() -> Any:
    return torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(24, 2)), batch_size=2)


def change() -> None:
    """A private method has another signature."""
    collection: Any = result._ResultCollection
    old = collection._forked_name

    def renamed(self: Any, metric: Any, step: bool) -> Any:
        return old(self, metric, step)

    collection._forked_name = renamed


def main() -> None:
    out, strategy, *options = sys.argv[1:]
    if "changed" in options:
        change()
    ours = AsyncLogger(f"{out}/ours", per_rank="mean_*", sigterm_check_every_n_steps=4)
    trainer = pl.Trainer(
        logger=[ours, CSVLogger(f"{out}/theirs")], strategy=strategy, devices=2, accelerator="cpu", max_epochs=2,
        log_every_n_steps=2, enable_progress_bar=False, enable_model_summary=False, callbacks=[
            LearningRateMonitor(), EarlyStopping("val_synced_epoch"),
            ModelCheckpoint(monitor="val_synced", filename="{epoch}-{val_synced:.2f}"),
        ],
    )  # fmt: skip
    model = RankModel()
    ours.log_hyperparams({"before": 1})
    ours.log_metrics({"before": 1.0}, 0)
    trainer.fit(model, loader(), loader())
    trainer.validate(model, loader(), verbose=False)
    trainer.test(model, loader(), verbose=False)
    ours.log_metrics({"after": 2.0}, 99)
    ours.finalize("success")
    # In one write, which another process can't get into: unbuffered, print makes several.
    sys.stdout.write(f"log_dir {ours.log_dir}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
