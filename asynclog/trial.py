"""One rank of `asynclog bench`: `python -m asynclog.trial NAMES STEPS RATE`, with a training's environment.

It says `ready`, waits for a line, logs a row of NAMES floats at each of STEPS steps, RATE a second, says `logged`, and
waits again. Then it says as a JSON object what that took: `log_ns`, the nanoseconds of each call; `sender_s`, seconds
of CPU of all threads but the one that logs; `flush_ms`, how long each of a few flush() takes; `dropped`, values by
cause; `compiled`, whether log() was C.
"""

from __future__ import annotations

import json
import sys
import time

import asynclog
from asynclog.writer import COMPILED

FLUSHES = 5


def main() -> None:
    """Entry point."""
    names, steps, rate = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    run = asynclog.init(project="bench", name=f"names-{names}")
    row = {f"group/metric_{i}": i + 0.5 for i in range(names)}
    run.log(row)  # a row's first call learns its names
    print("ready", flush=True)  # noqa: T201 - how this process answers
    sys.stdin.readline()
    before = _beside_s()
    log_ns = _paced(run, row, steps, 1 / rate)
    sender_s = _beside_s() - before
    print("logged", flush=True)  # noqa: T201
    sys.stdin.readline()
    flush_ms = [_flushed(run, row) for _ in range(FLUSHES)]
    ledger = run.finish()
    answer = {"log_ns": log_ns, "sender_s": sender_s, "flush_ms": flush_ms, "dropped": dict(ledger.dropped)}
    answer["compiled"] = COMPILED
    print(json.dumps(answer), flush=True)  # noqa: T201


def _beside_s() -> float:
    """CPU of this process beside this thread, which trains: the sender's and ZeroMQ's."""
    return time.process_time() - time.thread_time()


def _paced(run: asynclog.Run, row: dict[str, float], steps: int, period_s: float) -> list[int]:
    log_ns, clock = [], time.perf_counter_ns
    due = time.perf_counter()
    for _ in range(steps):
        began = clock()
        run.log(row)
        log_ns.append(clock() - began)
        due += period_s
        time.sleep(max(0.0, due - time.perf_counter()))
    return log_ns


def _flushed(run: asynclog.Run, row: dict[str, float]) -> float:
    run.log(row)
    began = time.perf_counter()
    run.flush()
    return (time.perf_counter() - began) * 1e3


if __name__ == "__main__":
    main()
