"""A module of Lightning's that logs 20 tensors of its device at each step, all of them for the progress bar too."""

from __future__ import annotations

from typing import Any

import pytest

pytest.importorskip("lightning")

from lightning.pytorch import LightningModule

from tests.client.lightning.modules import AsyncLogger, loader, trainer
from tests.gpu.device import DEVICE, ON_GPU, raise_where_it_waits, torch

__all__ = ["METRICS", "STEPS", "AsyncLogger", "Model", "fitted"]

METRICS, STEPS = 20, 30
KNOWN = 2
"""Steps after which Lightning has made what it keeps of each metric, which waits for the device."""


class Model(LightningModule):
    """Its n-th metric is n times the number of the step, from 1.

    `guarded`: from the KNOWN-th step on torch raises where it waits, from training_step until the next batch begins. So
    it does where Lightning hands the metrics on.
    """

    def __init__(self, *, logs: bool = True, guarded: bool = False) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)
        self.register_buffer("count", torch.zeros(()))
        self.logs, self.guarded, self.guards = logs, guarded, 0
        self.trained_on: set[str] = set()

    def training_step(self, batch: Any, index: int) -> Any:
        if self.guarded and index >= KNOWN:
            raise_where_it_waits(on=True)
            self.guards += 1
        self.count.add_(1)
        self.trained_on.add(self.count.device.type)
        if self.logs:
            self.log_dict({f"metric_{number}": self.count * number for number in range(METRICS)}, prog_bar=True)
        return self.layer(batch[0]).square().mean()

    def on_train_batch_start(self, batch: Any, index: int) -> None:
        raise_where_it_waits(on=False)

    def on_train_epoch_end(self) -> None:
        raise_where_it_waits(on=False)

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fitted(logger: Any, model: Any, **options: Any) -> Any:
    """The Trainer, after an epoch of STEPS steps."""
    torch.manual_seed(1)
    made = trainer(
        logger, accelerator="gpu" if ON_GPU else "cpu", devices=1, max_epochs=1, log_every_n_steps=1,
        enable_checkpointing=False, **options,
    )  # fmt: skip
    made.fit(model, loader(8 * STEPS))
    assert model.trained_on == {DEVICE}
    return made
