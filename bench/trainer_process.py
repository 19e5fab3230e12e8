"""One rank of `bench/lightning.py`: trains with each contender in turn and measures the steps.

argv: DIRECTORY ANSWER REPEATS STEPS. Under torchrun it is one of several ranks, and rank 0 answers.
"""

from __future__ import annotations

import json
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

import harness

METRICS = 20
WARM_UP_STEPS = 20
WIDTH, BATCH = 64, 32


class Model(LightningModule):
    """A small perceptron that logs its loss and 19 more values, all of them tensors."""

    def __init__(self, *, sync_dist: bool) -> None:
        super().__init__()
        self.layer = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 1))
        self.sync_dist = sync_dist

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        """One step."""
        loss: torch.Tensor = self.layer(batch[0]).square().mean()
        values = {f"train/metric_{i}": loss.detach() * i for i in range(1, METRICS)}
        self.log_dict({"train/loss": loss.detach(), **values}, sync_dist=self.sync_dist)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Stopwatch(Callback):
    """When each batch began and the last one ended, logging included (nanoseconds)."""

    def __init__(self) -> None:
        self.times: list[int] = []

    def on_train_batch_start(self, *_: Any) -> None:
        """A step begins: all of the one before it is done."""
        self.times.append(time.perf_counter_ns())

    def step_us(self) -> float:
        """Mean of the steps after the first ones: rare, long flushes count as they are."""
        times = self.times[WARM_UP_STEPS:]
        return (times[-1] - times[0]) / (len(times) - 1) / 1e3


def logger_of(contender: str, directory: Path) -> Any:
    """The Trainer's `logger` argument."""
    if contender == "none":
        return False
    if contender == "csv":
        return CSVLogger(str(directory))
    if contender == "tensorboard":
        return TensorBoardLogger(str(directory))
    from asynclog.lightning import AsyncLogger

    return AsyncLogger(str(directory))


def fit(contender: str, directory: Path, steps: int, *, sync_dist: bool) -> float:
    """Train once; microseconds a step."""
    torch.manual_seed(0)
    watch = Stopwatch()
    data = torch.utils.data.TensorDataset(torch.randn(BATCH * (steps + 1) * world(), WIDTH))
    trainer = Trainer(
        accelerator="cpu", devices=world(), strategy="ddp" if world() > 1 else "auto",
        logger=logger_of(contender, directory), callbacks=[watch], max_steps=steps, max_epochs=-1, log_every_n_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, barebones=False,
    )  # fmt: skip
    trainer.fit(Model(sync_dist=sync_dist), torch.utils.data.DataLoader(data, batch_size=BATCH))
    return watch.step_us()


def world() -> int:
    """How many ranks train."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def main() -> None:
    directory, answer, repeats, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    contenders = [("none", False), ("csv", False), ("tensorboard", False), ("asynclog", False)]
    if world() > 1:
        contenders += [("none", True), ("csv", True), ("tensorboard", True)]
    keys = [f"{name} {sync}" for name, sync in contenders]
    for contender, sync_dist in contenders:  # imports, and the daemon's start
        fit(contender, directory / "warm-up" / contender, WARM_UP_STEPS + 2, sync_dist=sync_dist)
    rows = []
    for repeat, key in harness.interleaved(keys, repeats):
        contender, sync_dist = contenders[keys.index(key)]
        step_us = fit(contender, directory / f"{repeat}-{key}", steps, sync_dist=sync_dist)
        row = {"repeat": repeat, "ranks": world(), "contender": contender, "sync_dist": sync_dist, "step_us": step_us}
        rows.append(row)
    if os.environ.get("RANK", "0") == "0":
        answer.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
