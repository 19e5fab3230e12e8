"""A training process for the tests: logs value(rank, step), tells after each log() that it returned.

worker.py OUT --steps N [--rank R --world W] [--name NAME] [--period SECONDS] [--also NAME] [--die-at STEP]
    [--until FILE [--endless]] [--backends NAME,NAME]
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import time
from array import array
from pathlib import Path

import asynclog

_spec = importlib.util.spec_from_file_location("oracle", Path(__file__).with_name("oracle.py"))
assert _spec is not None
assert _spec.loader is not None
oracle = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(oracle)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--rank", type=int)
    parser.add_argument("--world", type=int)
    parser.add_argument("--name", default="run")
    parser.add_argument("--period", type=float, default=0.0)
    parser.add_argument("--also", help="log this name too")
    parser.add_argument("--die-at", type=int, default=-1)
    parser.add_argument("--until", type=Path, help="go on living after the last step until this file is there")
    parser.add_argument("--endless", action="store_true", help="log until that file is there")
    parser.add_argument("--mode", default="auto")
    parser.add_argument("--backends", type=lambda text: text.split(","), help="by default those of the daemon")
    parser.add_argument("--first", type=int, default=0, help="the first step")
    parser.add_argument("--offset", type=float, default=0.0, help="added to each value")
    arguments = parser.parse_args()
    run = asynclog.init(
        project="p",
        name=arguments.name,
        dir=str(arguments.out),
        rank=arguments.rank,
        world_size=arguments.world,
        mode=arguments.mode,
        backends=arguments.backends,
    )
    told = os.open(arguments.out / f"returned-{arguments.name}-{run.rank}", os.O_WRONLY | os.O_CREAT, 0o600)
    times = array("q")
    last = 1 << 40 if arguments.endless else arguments.first + arguments.steps
    for step in range(arguments.first, last):
        if arguments.endless and arguments.until.exists():
            break
        if step == arguments.die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        metrics = {"loss": oracle.value(run.rank, step) + arguments.offset}
        if arguments.also:
            metrics[arguments.also] = float(step)
        began = time.perf_counter_ns()
        run.log(metrics, step=step)
        times.append(time.perf_counter_ns() - began)
        os.pwrite(told, step.to_bytes(8, "big"), 0)
        if arguments.period:
            time.sleep(arguments.period)
    while arguments.until and not arguments.until.exists():
        time.sleep(0.01)
    told_times = arguments.out / f"times-{arguments.name}-{run.rank}"
    told_times.write_bytes(times.tobytes())
    print(run.finish(timeout=60), flush=True)


if __name__ == "__main__":
    main()
