"""Two ranks that both get SIGTERM at their sixth batch, for the tests, under torchrun.

    train_sigterm.py OUT

OUT/rank-N.json has the batches that rank N began, those before which Lightning asked all ranks, and what ended its fit.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.loops.training_epoch_loop import _TrainingEpochLoop

from asynclog.lightning import AsyncLogger

torch.set_num_threads(1)
LAST = 5


class Ended(pl.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.batches: list[int] = []

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        self.batches.append(index)
        if index == LAST:
            os.kill(os.getpid(), signal.SIGTERM)
        self.log("rank", float(self.global_rank))
        return self.layer(batch[0]).square().mean()

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def main() -> None:
    out = Path(sys.argv[1])
    model, asked, ended = Ended(), [], ""
    broadcast = _TrainingEpochLoop._broadcast_sigterm_tensor

    def told(loop: Any) -> None:
        asked.append(len(model.batches))
        broadcast(loop)

    setattr(_TrainingEpochLoop, "_broadcast_sigterm_tensor", told)  # noqa: B010 - a method, for the type checker
    trainer = pl.Trainer(
        logger=AsyncLogger(out, sigterm_check_every_n_steps=4), strategy="ddp", devices=2, accelerator="cpu",
        max_epochs=1, log_every_n_steps=1, enable_progress_bar=False, enable_model_summary=False,
        enable_checkpointing=False,
    )  # fmt: skip
    data = torch.utils.data.TensorDataset(torch.ones(80, 2))
    try:
        trainer.fit(model, torch.utils.data.DataLoader(data, batch_size=2))
    except SystemExit as error:
        ended = type(error).__name__
    told_of = {"batches": model.batches, "asked": asked, "ended": ended}
    (out / f"rank-{trainer.global_rank}.json").write_text(json.dumps(told_of))


if __name__ == "__main__":
    main()
