"""What `bench/gpu.py` sees by torch.profiler, in a process of its own: a profiler slows what runs after it.

argv: a Plan as JSON. CUPTI is there before the graph is made, and stays: its other ways have crashed with graphs.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from typing import Any

os.environ.update(TEARDOWN_CUPTI="0", DISABLE_CUPTI_LAZY_REINIT="1")

import torch

import asynclog
import harness
from gpu_loop import Log, Loop, nothing, ways
from gpu_plan import ITEMS, NONE, OURS, Plan, told
from gpu_trace import Seen, seen, traced
from gpu_training import Training

SETTLING = 10
Row = harness.Row


def looked_at(work: Callable[[], object]) -> Seen:
    """What the profiler sees of `work`, from an idle device to an idle device."""

    def whole() -> None:
        work()
        torch.cuda.synchronize()

    torch.cuda.synchronize()
    return seen(traced(whole))


def of_way(loop: Loop, way: str, log: Log, steps: int) -> Row:
    """How much of its steps the device is idle, and what waits for it."""
    loop.steps(log, SETTLING)
    found = looked_at(lambda: loop.steps(log, steps))
    waits = {"waits": found.waits, "waits_beside": found.waits_beside}
    return {"what": "profile", "way": way, "idle_share": found.idle_share, **waits, "steps": steps}


def of_histograms(run: Any, loop: Loop, plan: Plan) -> list[Row]:
    """What waits for the device while a histogram is logged: by asynclog, and by what reads the tensor."""
    values = torch.randn(plan.elements, device=plan.device)

    def ours() -> None:
        run.log_histogram("values", values, loop.next())

    logs: dict[str, Callable[[], object]] = {NONE: values.sum, OURS: ours, ITEMS: values.cpu}
    rows = []
    for who, log in logs.items():
        log()
        found = looked_at(log)
        waits = {"waits": found.waits, "waits_beside": found.waits_beside, "steps": 1}
        rows.append({"what": "histogram profile", "way": who, "elements": plan.elements, **waits})
    return rows


def main() -> None:
    plan = told(sys.argv[1])
    first = torch.ones(1000, device=plan.device)
    looked_at(lambda: first.add_(1))
    loop = Loop(Training(plan.device, compiled=plan.compiled))
    run = asynclog.init("bench", "gpu-profile", dir=plan.folder, backends=["tensorboard"], rank=0, world_size=1)
    run.flush()
    rows: list[Row] = []
    for way, log in {NONE: nothing, **ways(run)}.items():
        loop.steps(log, plan.warm_up)
        rows.append(of_way(loop, way, log, plan.profiled))
        plan.answer.write_text(json.dumps(rows))
    rows += of_histograms(run, loop, plan)
    run.finish(timeout=120)
    plan.answer.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
