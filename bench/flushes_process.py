"""One rank of `bench/flushes.py`: trains, in turns with each way to log, and tells what its steps took.

argv: DIRECTORY ANSWER ROUNDS SECONDS METRICS, with ASYNCLOG_FLUSH_MS=1000. Started by torchrun; rank 0 answers. Where
nothing is logged there is no run and no daemon either: each daemon ends with its turn.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
import torch.distributed as dist

import asynclog
import harness
from asynclog_proto import places
from beside import Beside
from ddp_process import STEP_S, Log, Training, each, noop
from least_daemon import SENDER, LeastDaemon
from own_daemon import stopped

WARM_UP_S = 3.0
FLUSH_S = 1.0
"""asynclog's interval here, and the least daemon's."""

AFTER_A_FLUSH_S = 0.15
"""By then it is committed, in TensorBoard's file and acked."""


class Step(NamedTuple):
    """When it ended (s, time.monotonic), what it took, and what its call of `log` took (us)."""

    ended: float
    us: float
    call_us: float


class Turn(NamedTuple):
    """Steps that were logged in one way, and the CPU (us a step) of all senders and the daemon meanwhile."""

    steps: list[Step]
    beside_us: float


class Measurement:
    """One training, whose steps are told one by one."""

    def __init__(self, training: Training, directory: Path, metrics: int) -> None:
        self._training, self._directory = training, directory
        self._names = [f"train/metric_{index}" for index in range(metrics)]
        self._step = 0
        self._pace = 1 / STEP_S
        """steps a second, the same on all ranks"""

    def find_pace(self) -> None:
        """Train for a while, and know how many steps a second are."""
        steps = self.steps(noop, WARM_UP_S)
        pace = torch.tensor(len(steps) / (steps[-1].ended - steps[0].ended))
        dist.broadcast(pace, 0)
        self._pace = float(pace)

    def turn(self, way: str, seconds: float) -> Turn:
        """Train for about so long, after some steps that do not count."""
        if way == "asynclog":
            return self._with_asynclog(seconds)
        if way == "least":
            return self._with_the_least(seconds)
        log = {"noop": noop, "each": each}[way]
        self._warm_up(log, seconds)
        return Turn(self.steps(log, seconds), 0.0)

    def _with_asynclog(self, seconds: float) -> Turn:
        run = asynclog.init("bench", f"from-{self._step}", dir=str(self._directory), backends=["tensorboard"])
        self._warm_up(run.log, seconds)
        run.flush()
        turn = self._beside(Beside(), run.log, seconds)
        ledger = run.finish()
        if not ledger.complete or ledger.dropped:
            raise RuntimeError(f"not every value was delivered:\n{ledger}")
        dist.barrier()
        if dist.get_rank() == 0:
            stopped(places.endpoint(places.runtime_dir(os.environ, os.getuid())))
        dist.barrier()
        return turn

    def _with_the_least(self, seconds: float) -> Turn:
        owns = dist.get_rank() == 0
        least, place = LeastDaemon(FLUSH_S, owns_daemon=owns), self._directory / f"least-{self._step}"
        place.mkdir(exist_ok=True)
        least.setup(place)
        self._warm_up(least.log, seconds)
        turn = self._beside(Beside(SENDER, least.daemon_pid), least.log, seconds)
        if not owns:
            least.close()
        dist.barrier()
        least.close()
        dist.barrier()
        return turn

    def _beside(self, beside: Beside, log: Log, seconds: float) -> Turn:
        ranks = dist.get_world_size()
        before = beside.seconds(ranks)
        steps = self.steps(log, seconds)
        return Turn(steps, (beside.seconds(ranks) - before) / len(steps) * 1e6)

    def _warm_up(self, log: Log, seconds: float) -> None:
        self.steps(log, min(WARM_UP_S, seconds))

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


def summarized(turns: Sequence[Turn]) -> dict[str, Any]:
    """What one way to log adds to a step (us): its share of what flushes do, and its call; beside it the mean step of
    each turn. ValueError for less than two flushes.
    """
    steps = [step for turn in turns for step in turn.steps]
    found = [excess for turn in turns for excess in excesses(turn.steps)]
    if len(found) < 2:
        raise ValueError(f"{len(found)} whole seconds in {len(steps)} steps")
    step_us, call_us = (statistics.fmean(values) for values in zip(*(step[1:] for step in steps), strict=True))
    a_step = step_us / 1e6  # of what a second has
    quantiles = harness.quantiles_us([round(step.call_us * 1e3) for step in steps])
    return {
        "turns_us": [statistics.fmean(step.us for step in turn.steps) for turn in turns],
        "by_flushes_us": statistics.fmean(found) * a_step + call_us,
        "by_flushes_error_us": harness.error_of_mean(found) * a_step,
        "beside_us": statistics.median(turn.beside_us for turn in turns),
        "call_us": quantiles["p50_us"],
        "call_p99_us": quantiles["p99_us"],
        "flushes": len(found),
    }


def balanced(names: Sequence[str], rounds: int) -> Iterator[str]:
    """The contenders taking turns: in as many rounds as there are names, an even number, each stands once at each place
    and, within a round, follows each other one equally often. So neither a machine that gets slower nor what a turn
    leaves behind is one contender's. (`harness.interleaved` keeps one cycle: who follows whom is always the same.)

    From one round to the next a contender follows the same other one as long as the rounds count up, and a second one
    where they count down, as every second time through all names does.
    """
    many = len(names)
    zigzag = [(place + 1) // 2 if place % 2 else -(place // 2) for place in range(many)]
    for turn in range(rounds):
        start = -turn if turn // many % 2 else turn
        yield from (names[(at + start) % many] for at in zigzag)


def main() -> None:
    directory, answer = Path(sys.argv[1]), Path(sys.argv[2])
    rounds, seconds, metrics = int(sys.argv[3]), float(sys.argv[4]), int(sys.argv[5])
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    training = Training()
    training.fit_batch()
    measurement = Measurement(training, directory, metrics)
    measurement.find_pace()
    turns: dict[str, list[Turn]] = {"noop": [], "asynclog": [], "least": [], "each": []}
    for way in balanced(list(turns), rounds):
        turns[way].append(measurement.turn(way, seconds))
    rows = [{"way": way, **summarized(some)} for way, some in turns.items()]
    if dist.get_rank() == 0:
        answer.write_text(json.dumps(rows))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
