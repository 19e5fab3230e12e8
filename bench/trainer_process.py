"""One rank of `bench/lightning.py`: trains with each contender in turn and measures the steps.

argv: DIRECTORY ANSWER REPEATS BLOCKS SECONDS. Under torchrun it is one of several ranks, and rank 0 answers.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger

import harness
from beside import Beside

METRICS = 20
WARM_UP_STEPS = 20
SETTLING_SECONDS = 1.2
"""Steps for so long come before those of a block that count: until what is flushed each second, where cores are short,
is of the block that logged it."""
PACE_STEPS = 100
"""A training of so many tells how many steps are a second."""
WIDTH, BATCH, SAMPLES = 64, 32, 4096


class Samples:
    """`count` samples: a few, again and again, of which a long training holds no more."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._samples = torch.randn(SAMPLES, WIDTH)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> torch.Tensor:
        return self._samples[index % SAMPLES]


class Model(LightningModule):
    """A small perceptron that logs its loss and 19 more values, all of them tensors."""

    def __init__(self, *, sync_dist: bool) -> None:
        super().__init__()
        self.layer = torch.nn.Sequential(torch.nn.Linear(WIDTH, WIDTH), torch.nn.ReLU(), torch.nn.Linear(WIDTH, 1))
        self.sync_dist = sync_dist

    def training_step(self, batch: Any, _: int) -> torch.Tensor:
        """One step."""
        loss: torch.Tensor = self.layer(batch).square().mean()
        values = {f"train/metric_{i}": loss.detach() * i for i in range(1, METRICS)}
        self.log_dict({"train/loss": loss.detach(), **values}, sync_dist=self.sync_dist)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Plain SGD."""
        return torch.optim.SGD(self.parameters(), lr=0.01)


class Stopwatch(Callback):
    """Takes the loggers away for every other block of steps, and knows how long the steps of both kinds took, and
    the calls of the connector's `log_metrics` in them, where the Trainer hands metrics to its loggers.

    Within one training the machine is in one mood. Of a block the last `counted` steps are looked at, the `settling`
    before them are not: what the sender and the daemon do for the steps before a change counts on neither side.
    """

    def __init__(self, settling: int, counted: int) -> None:
        self.times: list[int] = []
        self._beside: Beside | None = None
        self._cpu: dict[int, float] = {}
        """CPU seconds beside the training, by the step before which that was"""
        self._settling, self._counted, self._size = settling, counted, settling + counted
        self._calls: list[int] = []
        self._loggers: list[Any] = []

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - the signature
        """Remember the loggers, and time what hands them metrics."""
        self._loggers = trainer.loggers
        for logger in self._loggers:
            if hasattr(logger, "run"):  # asynclog's: it has threads of its own, once it is heard
                logger.run.flush()
                self._beside = Beside()
        connector: Any = trainer._logger_connector  # noqa: SLF001 - the one place that all loggers have in common
        log_metrics = connector.log_metrics

        def timed(*args: Any, **keywords: Any) -> None:
            begin = time.perf_counter_ns()
            log_metrics(*args, **keywords)
            if self._logs(len(self.times) - 1) and len(self.times) > WARM_UP_STEPS:
                self._calls.append(time.perf_counter_ns() - begin)

        connector.log_metrics = timed

    def on_train_batch_start(self, trainer: Trainer, *_: Any) -> None:
        """A step begins: all of the one before it is done."""
        self.times.append(time.perf_counter_ns())
        step = len(self.times) - 1
        trainer.loggers = self._loggers if self._logs(step) else []
        at_edge = (step - WARM_UP_STEPS) % self._size in (0, self._settling)
        if self._beside is not None and at_edge:
            self._cpu[step] = self._beside.seconds(world())

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - as above
        """The loggers are finalized."""
        trainer.loggers = self._loggers

    @property
    def blocks_us(self) -> tuple[list[float], list[float]]:
        """A step's mean (microseconds) in each block with the loggers, and in the two blocks without them around it.

        Means, because rare and long flushes count as they are; on both sides, because machines get warm.
        """
        steps = [end - begin for begin, end in pairwise(self.times)][WARM_UP_STEPS:]
        ends = range(self._size, len(steps) + 1, self._size)
        return with_and_without([statistics.fmean(steps[end - self._counted : end]) / 1e3 for end in ends])

    @property
    def beside_us(self) -> list[float]:
        """CPU of threads beside the training (microseconds a step): what each block with the logger has more than the
        two without around it; 0 for loggers that have no such threads.
        """
        ends = range(WARM_UP_STEPS + self._size, len(self.times), self._size)
        spent = [self._cpu[end] - self._cpu[end - self._counted] for end in ends if self._cpu]
        pairs = with_and_without([seconds / self._counted * 1e6 for seconds in spent])
        return [own - without for own, without in zip(*pairs, strict=True)] or [0.0]

    @property
    def call_us(self) -> float:
        """The median of a call (microseconds), 0 without loggers."""
        return statistics.median(self._calls) / 1e3 if self._calls and self._loggers else 0.0

    def _logs(self, step: int) -> bool:
        return step >= WARM_UP_STEPS and (step - WARM_UP_STEPS) // self._size % 2 == 1


def with_and_without(blocks: Sequence[float]) -> tuple[list[float], list[float]]:
    """Of blocks that take turns, those with the logger, and what those around each of them have."""
    around = list(zip(blocks[::2], blocks[1::2], blocks[2::2], strict=False))  # the last may lack one after it
    return [block for _, block, _ in around], [(before + after) / 2 for before, _, after in around]


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


def fit(
    contender: str, directory: Path, blocks: int, settling: int, counted: int, *, sync_dist: bool = False
) -> Stopwatch:
    """Train once: `blocks` of them with the logger, as many and one more without."""
    torch.manual_seed(0)
    watch, logger = Stopwatch(settling, counted), logger_of(contender, directory)
    steps = WARM_UP_STEPS + (2 * blocks + 1) * (settling + counted) + 1
    data: Any = Samples(BATCH * (steps + 1) * world())
    trainer = Trainer(
        accelerator="cpu", devices=world(), strategy="ddp" if world() > 1 else "auto",
        logger=logger, callbacks=[watch], max_steps=steps, max_epochs=-1, log_every_n_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, barebones=False,
    )  # fmt: skip
    trainer.fit(Model(sync_dist=sync_dist), torch.utils.data.DataLoader(data, batch_size=BATCH))
    if contender == "asynclog":
        logger.close()  # as the end of the process would: it goes on after a fit, and so would its thread
    return watch


def pace(directory: Path, *, sync_dist: bool = False) -> float:
    """Steps a second without a logger, the same on all ranks."""
    watch = fit("none", directory, 1, 0, PACE_STEPS, sync_dist=sync_dist)
    told = [1e6 / statistics.fmean(watch.blocks_us[0])]
    if world() > 1:
        torch.distributed.broadcast_object_list(told)
    return told[0]


def world() -> int:
    """How many ranks train."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def main() -> None:
    directory, answer = map(Path, sys.argv[1:3])
    repeats, blocks = map(int, sys.argv[3:5])
    seconds = float(sys.argv[5])
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    contenders = [("none", False), ("csv", False), ("tensorboard", False), ("asynclog", False)]
    if world() > 1:
        contenders.append(("none", True))
    keys = [f"{name} {sync}" for name, sync in contenders]
    for contender, sync_dist in contenders:  # imports, and the daemon's start
        fit(contender, directory / "warm-up" / contender, 1, 0, 2, sync_dist=sync_dist)
    paces = {sync: pace(directory / f"pace-{sync}", sync_dist=sync) for sync in dict.fromkeys(s for _, s in contenders)}
    rows = []
    for repeat, key in harness.interleaved(keys, repeats):
        contender, sync_dist = contenders[keys.index(key)]
        settling = 0 if sync_dist else round(min(SETTLING_SECONDS, seconds) * paces[sync_dist])
        counted = max(1, round(seconds * paces[sync_dist]))
        watch = fit(contender, directory / f"{repeat}-{key}", blocks, settling, counted, sync_dist=sync_dist)
        step_us, without_us = watch.blocks_us
        row = {"repeat": repeat, "ranks": world(), "contender": contender, "sync_dist": sync_dist}
        row |= {"step_us": step_us, "without_us": without_us, "call_us": [watch.call_us], "beside_us": watch.beside_us}
        rows.append(row)
    if os.environ.get("RANK", "0") == "0":
        answer.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
