"""One rank of `bench/ddp.py`: trains with DDP, in blocks of steps with each way to log in turn, and measures them.

argv: DIRECTORY ANSWER ROUNDS STEPS CASE..., STEPS of a block, each case METRICS or METRICS+uneven. Started by torchrun;
rank 0 answers.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

import asynclog
import harness
from beside import Beside

STEP_S = 0.005
PAUSE_S = 0.002
WARM_UP = 30
SETTLING_S = 1.2
"""Steps for so long come before those that count where asynclog begins and ends: until what is flushed each second,
where cores are short, is of the block that logged it."""
WIDTH = 256
MOST_EACH = 100
"""Metrics up to which one all_reduce for each is tried."""

Scalars = dict[str, float]
Log = Callable[[Scalars, int], object]


class Training:
    """A perceptron, real gradients, a batch that makes a step of about 5 ms."""

    def __init__(self) -> None:
        torch.manual_seed(0)
        layers = [layer for _ in range(3) for layer in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
        self._model = DistributedDataParallel(nn.Sequential(*layers, nn.Linear(WIDTH, 1)))
        self._optimizer = torch.optim.SGD(self._model.parameters(), lr=0.01)
        self._inputs = torch.randn(4096, WIDTH)
        self.batch = 32

    def fit_batch(self) -> None:
        """Choose the batch by two measurements, the same on all ranks."""
        times = {}
        for self.batch in (32, 256):
            began = [self.timed() for _ in range(40)][10:]
            times[self.batch] = statistics.median(began)
        slope = max(1e-7, (times[256] - times[32]) / (256 - 32))
        chosen = torch.tensor(32 + (STEP_S - times[32]) / slope)
        dist.broadcast(chosen, 0)
        self.batch = min(4096, max(8, int(chosen)))

    def timed(self) -> float:
        """A step's seconds."""
        began = time.perf_counter()
        self.step()
        return time.perf_counter() - began

    def step(self) -> float:
        """Forward, backward with DDP's own all_reduce, update; the loss."""
        loss: torch.Tensor = self._model(self._inputs[: self.batch]).square().mean()
        self._optimizer.zero_grad()
        loss.backward()
        self._optimizer.step()
        return float(loss)


def noop(row: Scalars, step: int) -> None:
    """The floor: a logger that does nothing."""


def packed(row: Scalars, step: int) -> list[float]:  # noqa: ARG001 - a logger's arguments
    """All metrics in one tensor, one all_reduce, and rank 0 reads the means, to write them."""
    values = torch.tensor(list(row.values()))
    dist.all_reduce(values)
    return values.div_(dist.get_world_size()).tolist() if dist.get_rank() == 0 else []


def each(row: Scalars, step: int) -> list[float]:  # noqa: ARG001 - as above
    """One all_reduce a metric, as Lightning's `sync_dist=True` does it."""
    world, means = dist.get_world_size(), []
    for value in row.values():
        tensor = torch.tensor(value)
        dist.all_reduce(tensor)
        means.append(tensor.item() / world)
    return means


def alone(metrics: int) -> Log:
    """The collective alone, over a tensor that is there, and nobody reads it: the floor of all that reduces."""
    values = torch.zeros(metrics)
    return lambda row, step: dist.all_reduce(values)  # noqa: ARG005 - as above


class Block(NamedTuple):
    """Steps that were logged in one way."""

    way: str
    step_us: float
    """a step's mean"""
    rank_us: float
    """CPU a step of this rank's sender"""
    daemon_us: float
    """CPU a step of the daemon"""
    calls_ns: list[int]


class Measurement:
    """Blocks of steps, and what they took on this rank."""

    def __init__(self, training: Training, metrics: int, beside: Beside, *, uneven: bool) -> None:
        self._training, self._uneven, self._beside = training, uneven, beside
        self._names = [f"train/metric_{index}" for index in range(metrics)]
        self._step = 0
        self.blocks: list[Block] = []

    def block(self, way: str, log: Log, steps: int) -> None:
        """Train for a block, logging in this way."""
        rank, daemon = self._beside.rank_seconds(), self._beside.daemon_seconds()
        began = time.perf_counter()
        calls = self.steps(log, steps)
        seconds = time.perf_counter() - began
        rank, daemon = self._beside.rank_seconds() - rank, self._beside.daemon_seconds() - daemon
        step_us, rank_us, daemon_us = (value / steps * 1e6 for value in (seconds, rank, daemon))
        self.blocks.append(Block(way, step_us, rank_us, daemon_us, calls))

    def steps(self, log: Log, steps: int) -> list[int]:
        """Train, and log at each step. What each call took (ns)."""
        clock, calls = time.perf_counter_ns, []
        for _ in range(steps):
            loss = self._training.step()
            row = {key: loss + index for index, key in enumerate(self._names)}
            self._pause(0)
            before = clock()
            log(row, self._step)
            calls.append(clock() - before)
            self._pause(1)
            self._step += 1
        return calls

    def _pause(self, turn: int) -> None:
        """Ranks whose work is the same in sum, but not at the same time: each is late in turn, before it logs and after
        that.
        """
        if self._uneven and (self._step + turn + dist.get_rank()) % dist.get_world_size() == 0:
            time.sleep(PAUSE_S)


def trained(
    training: Training, directory: Path, metrics: int, rounds: int, steps: int, *, uneven: bool
) -> list[dict[str, Any]]:
    """A row for each way to log: what each block's steps took, beside those of the blocks around it, and the calls."""
    run = asynclog.init("bench", f"{metrics}-{uneven}", dir=str(directory), backends=["tensorboard"])
    ways: dict[str, Log] = {"noop": noop, "asynclog": run.log, "alone": alone(metrics), "packed": packed}
    if metrics <= MOST_EACH and not uneven:
        ways["each"] = each
    run.flush()  # the sender is connected
    measurement = Measurement(training, metrics, Beside(), uneven=uneven)
    for log in ways.values():  # the daemon's start, spelt names, connections of gloo
        measurement.steps(log, WARM_UP)
    run.flush()
    dist.barrier()
    measurement.block("none", noop, steps)
    for _, way in harness.interleaved(list(ways), rounds):
        settling = min(steps, round(SETTLING_S / STEP_S)) if way == "asynclog" else 0
        measurement.steps(ways[way], settling)
        measurement.block(way, ways[way], steps)
        measurement.steps(noop, settling)
        measurement.block("none", noop, steps)
    ledger = run.finish()
    if not ledger.complete or ledger.dropped:
        raise RuntimeError(f"not every value was delivered:\n{ledger}")
    about = {"ranks": dist.get_world_size(), "metrics": metrics, "uneven": uneven}
    return [{**about, "way": way, **around(measurement.blocks, way)} for way in ways]


def around(blocks: Sequence[Block], way: str) -> dict[str, list[float]]:
    """What the blocks of a way to log took, and the two around each of them, where nothing is logged; of the CPU
    beside the training what is more than there.
    """
    found = [index for index, block in enumerate(blocks) if block.way == way]
    sides = [(blocks[at], blocks[at - 1], blocks[at + 1]) for at in found]
    return {
        "step_us": [block.step_us for block, _, _ in sides],
        "without_us": [(before.step_us + after.step_us) / 2 for _, before, after in sides],
        "rank_us": [block.rank_us - (before.rank_us + after.rank_us) / 2 for block, before, after in sides],
        "daemon_us": [block.daemon_us - (before.daemon_us + after.daemon_us) / 2 for block, before, after in sides],
        "calls_us": [call / 1e3 for block, _, _ in sides for call in block.calls_ns],
    }


def main() -> None:
    directory, answer, rounds, steps = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    training = Training()
    training.fit_batch()
    rows = []
    for case in sys.argv[5:]:
        metrics, _, kind = case.partition("+")
        rows += trained(training, directory, int(metrics), rounds, steps, uneven=kind == "uneven")
    if dist.get_rank() == 0:
        answer.write_text(json.dumps(rows))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
