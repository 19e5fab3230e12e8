"""Two ranks whose local validation values would have them decide differently: with reduced ones they agree.

train_reduced.py OUT STRATEGY
"""

from __future__ import annotations

import sys
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from asynclog.lightning import AsyncLogger, ReducedMetrics

torch.set_num_threads(1)


class Disagreeing(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        return self.layer(batch[0]).square().mean()

    def validation_step(self, batch: Any, index: int) -> None:
        # Rank 0 improves with each epoch, rank 1 gets worse, and more so: 2, 3, 4, ... on the mean.
        epoch = self.current_epoch
        value = torch.tensor(float(-epoch if self.global_rank == 0 else 4 + 3 * epoch))
        self.log("val_loss", value, on_step=True, on_epoch=True)

    def on_validation_end(self) -> None:
        if not self.trainer.sanity_checking:
            seen = float(self.trainer.callback_metrics["val_loss"])
            # In one write, which another process can't get into: unbuffered, print makes several.
            sys.stdout.write(f"seen {self.global_rank} {self.current_epoch} {seen}\n")
            sys.stdout.flush()

    def on_fit_end(self) -> None:
        logger: Any = self.trainer.logger
        values = [logger.reduced("val_loss_epoch", epoch=epoch).result(30) for epoch in range(3)]
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        sys.stdout.write(f"decided {self.global_rank} {values} {rate:g}\n")
        sys.stdout.flush()

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=1.0)
        plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": plateau, "monitor": "val_loss"}}


def main() -> None:
    out, strategy = sys.argv[1:]
    logger = AsyncLogger(out, prefix="p")
    data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.ones(8, 2)), batch_size=2)
    best = ModelCheckpoint(monitor="val_loss", filename="{epoch}")
    trainer = pl.Trainer(
        logger=logger, strategy=strategy, devices=2, accelerator="cpu", max_epochs=9, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[EarlyStopping("val_loss", patience=2), ReducedMetrics("val_loss"), best],
    )  # fmt: skip
    trainer.fit(Disagreeing(), data, data)
    print("epochs", trainer.current_epoch, "best", best.best_model_path, float(best.best_model_score or -1), flush=True)


if __name__ == "__main__":
    main()
