"""One rank of the closer look of `bench/ddp.py`: what flushes add to the steps that they meet.

argv: DIRECTORY ANSWER SECONDS METRICS, with ASYNCLOG_FLUSH_MS=1000. Started by torchrun; rank 0 answers.

Where cores are short all ranks flush at the same moment, each second of the machine's clock. So the steps of the moment
after it are compared with the others of their second; whole blocks of steps swing by more than a flush takes. A logger
that does nothing, before there is a run or a daemon, has "flushes" too, which say how well that can tell.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

import asynclog
import harness
from asynclog_proto import places
from beside import Beside
from ddp_process import STEP_S, Log, Training, noop

WARM_UP_S = 4.0

AFTER_A_FLUSH_S = 0.15
"""By then it is committed, in TensorBoard's file and acked."""


class Step(NamedTuple):
    """When it ended (s, time.monotonic), what it took, and what its call of `log` took (us)."""

    ended: float
    us: float
    call_us: float


class Measurement:
    """One training, whose steps are told one by one."""

    def __init__(self, training: Training, metrics: int) -> None:
        self._training = training
        self._names = [f"train/metric_{index}" for index in range(metrics)]
        self._step = 0
        self._pace = 1 / STEP_S
        """steps a second, the same on all ranks"""

    def warm_up(self, log: Log, seconds: float) -> None:
        """Train for about so long, and know the pace."""
        steps = self.steps(log, seconds)
        pace = torch.tensor(len(steps) / (steps[-1].ended - steps[0].ended))
        dist.broadcast(pace, 0)
        self._pace = float(pace)

    def steps(self, log: Log, seconds: float) -> list[Step]:
        """Train for about so long, the same number of steps on all ranks, and log at each."""
        clock, made = time.monotonic, []
        ended = clock()
        for _ in range(round(seconds * self._pace)):
            loss = self._training.step()
            row = {key: loss + index for index, key in enumerate(self._names)}
            before, began = clock(), ended
            log(row, self._step)
            ended = clock()
            made.append(Step(ended, (ended - began) * 1e6, (ended - before) * 1e6))
            self._step += 1
        return made


def excesses(steps: Sequence[Step]) -> list[float]:
    """For each whole second of the clock what the steps that met its first moments took (us), beyond as many others of
    that second.
    """
    by_second: dict[int, list[Step]] = {}
    for step in steps:
        by_second.setdefault(int(step.ended), []).append(step)
    found = []
    for second in sorted(by_second)[1:-1]:  # the first and the last may be parts
        until = second + AFTER_A_FLUSH_S
        met = [step.us for step in by_second[second] if step.ended - step.us / 1e6 < until]
        others = [step.us for step in by_second[second] if step.ended - step.us / 1e6 >= until]
        if others:
            found.append(sum(met) - len(met) * statistics.fmean(others))
    return found


def summarized(steps: Sequence[Step]) -> dict[str, Any]:
    """What logging adds to a step: its share of what flushes do, and its call. ValueError for less than two flushes."""
    found = excesses(steps)
    if len(found) < 2:
        raise ValueError(f"{len(found)} whole seconds in {len(steps)} steps")
    step_us, call_us = (statistics.fmean(values) for values in zip(*(step[1:] for step in steps), strict=True))
    a_step = step_us / 1e6  # of what a second has
    quantiles = harness.quantiles_us([round(step.call_us * 1e3) for step in steps])
    return {
        "step_us": step_us,
        "added_us": statistics.fmean(found) * a_step + call_us,
        "added_error_us": statistics.stdev(found) / math.sqrt(len(found)) * a_step,
        "call_us": quantiles["p50_us"],
        "call_p99_us": quantiles["p99_us"],
        "flushes": len(found),
    }


def main() -> None:
    directory, answer, seconds, metrics = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    training = Training()
    training.fit_batch()
    measurement = Measurement(training, metrics)
    measurement.warm_up(noop, min(WARM_UP_S, seconds))
    without = measurement.steps(noop, seconds)
    run = asynclog.init("bench", f"flushes-{metrics}", dir=str(directory), backends=["tensorboard"])
    measurement.steps(run.log, min(WARM_UP_S, seconds))
    run.flush()
    beside = Beside(places.runtime_dir(os.environ, os.getuid()))
    rank, daemon = beside.rank_seconds(), beside.daemon_seconds()
    logged = measurement.steps(run.log, seconds)
    spent = (beside.rank_seconds() - rank) * dist.get_world_size() + beside.daemon_seconds() - daemon
    ledger = run.finish()
    if not ledger.complete or ledger.dropped:
        raise RuntimeError(f"not every value was delivered:\n{ledger}")
    about = {"ranks": dist.get_world_size(), "metrics": metrics, "uneven": False}
    rows = [
        {**about, "way": "noop", **summarized(without), "beside_us": 0.0},
        {**about, "way": "asynclog", **summarized(logged), "beside_us": spent / len(logged) * 1e6},
    ]
    if dist.get_rank() == 0:
        answer.write_text(json.dumps(rows))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
