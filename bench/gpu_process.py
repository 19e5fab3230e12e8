"""What `bench/gpu.py` times, in a process of its own that no profiler has touched. argv: a Plan as JSON.

The rows are written after each part: what fails later takes none of them away.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

import asynclog
import harness
from gpu_loop import Block, Log, Loop, Scalars, nothing, ways
from gpu_plan import NONE, OURS, Plan, told
from gpu_training import Training
from hot_path_process import busy

PAUSE_S = 0.001
SCALARS = 10
Row = harness.Row


def steps_rows(loop: Loop, logs: dict[str, Log], plan: Plan) -> list[Row]:
    """A row for each way to log, and first the one without: blocks of them in turns."""
    for log in [*logs.values(), nothing]:
        loop.steps(log, plan.warm_up)
    blocks = [loop.block(NONE, nothing, plan.steps)]
    for _, way in harness.interleaved(list(logs), plan.rounds):
        for name, log in ((way, logs[way]), (NONE, nothing)):
            loop.steps(log, plan.settling)
            blocks.append(loop.block(name, log, plan.steps))
    return [of_nothing(blocks), *(of_way(blocks, way) for way in logs)]


def of_nothing(blocks: Sequence[Block]) -> Row:
    """The row of the steps that log nothing."""
    steps = [block.step_us for block in blocks if block.way == NONE]
    row = {"what": "step", "way": NONE, "step_us": statistics.median(steps)}
    return {**row, "step_error_us": harness.error_of_median(steps), "blocks": len(steps)}


def of_way(blocks: Sequence[Block], way: str) -> Row:
    """A way's row: its steps, what they take beyond those of the blocks around, and its calls."""
    at = [index for index, block in enumerate(blocks) if block.way == way]
    steps = [blocks[index].step_us for index in at]
    without = [(blocks[index - 1].step_us + blocks[index + 1].step_us) / 2 for index in at]
    added = [step - base for step, base in zip(steps, without, strict=True)]
    return {
        "what": "step",
        "way": way,
        "step_us": statistics.median(steps),
        "step_error_us": harness.error_of_median(steps),
        "without_us": statistics.median(without),
        "added_us": statistics.median(added),
        "added_error_us": harness.error_of_median(added),
        **calls_of([call for index in at for call in blocks[index].calls_ns]),
        "blocks": len(at),
    }


def calls_of(calls_ns: Sequence[int]) -> Row:
    """Quantiles of calls (us)."""
    found = harness.quantiles_us(calls_ns)
    return {"call_us": found["p50_us"], "call_p99_us": found["p99_us"]}


def scalars_rows(run: Any, loop: Loop, plan: Plan) -> list[Row]:
    """`log()` of a few scalars of the device: between pauses while that has nothing to do, and between steps."""
    own = {f"scalar_{index}": torch.rand((), device=plan.device) for index in range(SCALARS)}

    def between_pauses() -> Scalars:
        busy(PAUSE_S)
        return own

    def between_steps() -> Scalars:
        return dict(zip(own, loop.training.step()[:SCALARS], strict=True))

    rows = []
    for way, make, calls in (("pauses", between_pauses, plan.calls), ("steps", between_steps, plan.calls // 5)):
        loop.training.finish()
        times = timed(run.log, make, loop, calls)
        rows.append({"what": "scalars", "way": way, **calls_of(times[len(times) // 2 :])})
    loop.training.finish()
    return rows


def timed(log: Log, make: Callable[[], Scalars], loop: Loop, calls: int) -> list[int]:
    """What calls took (ns). In the first half the run comes by the memory of the host that it uses again later."""
    clock, times = time.perf_counter_ns, []
    for _ in range(calls):
        row, number = make(), loop.next()
        before = clock()
        log(row, number)
        times.append(clock() - before)
    return times


def histogram_rows(run: Any, loop: Loop, plan: Plan) -> list[Row]:
    """A histogram of a large tensor of the device: asynclog's, counted there, and SummaryWriter's."""
    from torch.utils.tensorboard import SummaryWriter

    values = torch.randn(plan.elements, device=plan.device)
    writer = SummaryWriter(str(Path(plan.folder, "summarywriter")))
    contenders: dict[str, tuple[Callable[[int], object], int]] = {
        OURS: (lambda number: run.log_histogram("values", values, number), 5),
        "summarywriter": (lambda number: writer.add_histogram("values", values, number), plan.writers),
    }
    rows = []
    for who, (log, calls) in contenders.items():
        if who == OURS:
            log(loop.next())  # kernels are loaded, and the allocator has its memory
        found = [both_clocks(plan.device, log, loop.next()) for _ in range(calls)]
        call_ns, device_us = zip(*found, strict=True)
        row = {"what": "histogram", "way": who, "elements": plan.elements, **calls_of(call_ns)}
        rows.append({**row, "added_us": statistics.median(device_us), "calls": calls})
    writer.close()
    return rows


def both_clocks(device: str, log: Callable[[int], object], number: int) -> tuple[int, float]:
    """What a call took (ns), and what a step that makes it takes longer (us): until the device has done its part."""
    clock = time.perf_counter_ns
    if device != "cuda":
        before = clock()
        log(number)
        took = clock() - before
        return took, took / 1e3
    began, ended = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    began.record()
    before = clock()
    log(number)
    took = clock() - before
    ended.record()
    torch.cuda.synchronize()
    return took, began.elapsed_time(ended) * 1e3


@contextmanager
def no_waiting() -> Iterator[None]:
    """Within it torch raises where it waits for the device. RuntimeError when it does not."""
    value = torch.ones((), device="cuda")
    torch.cuda.set_sync_debug_mode("error")
    try:
        _expect_to_raise(value)
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _expect_to_raise(value: torch.Tensor) -> None:
    try:
        value.item()
    except RuntimeError:
        return
    raise RuntimeError("torch reads a value and does not raise: its sync debug mode has no effect")


def guarded_row(run: Any, loop: Loop, plan: Plan) -> Row:
    """Steps that are logged while torch raises where it waits: what would wait is lost, and counted."""
    values = torch.randn(1000, device="cuda")
    run.flush()
    before = sum(run.stats.dropped.values())
    with no_waiting():
        loop.steps(run.log, plan.guarded)
        run.log_histogram("guarded", values, loop.next())
        run.flush()
    return {"what": "guarded", "way": OURS, "lost": sum(run.stats.dropped.values()) - before}


def delivered(run: Any) -> Row:
    """What became of all that asynclog was given."""
    ledger = run.finish(timeout=120)
    lost = sum(ledger.dropped.values())
    return {"what": "ledger", "way": OURS, "complete": ledger.complete, "issued": ledger.issued, "dropped": lost}


def main() -> None:
    plan = told(sys.argv[1])
    loop = Loop(Training(plan.device, compiled=plan.compiled))
    run = asynclog.init("bench", "gpu", dir=plan.folder, backends=["tensorboard"], rank=0, world_size=1)
    run.flush()
    on_gpu = plan.device == "cuda"
    parts: list[Callable[[], list[Row]]] = [
        lambda: steps_rows(loop, ways(run), plan),
        lambda: scalars_rows(run, loop, plan),
        lambda: [guarded_row(run, loop, plan)] if on_gpu else [],
        lambda: histogram_rows(run, loop, plan),
        lambda: [delivered(run)],
    ]
    rows: list[Row] = []
    for part in parts:
        rows += [{**row, "device": plan.device, "compiled": plan.compiled} for row in part()]
        plan.answer.write_text(json.dumps(rows))


if __name__ == "__main__":
    main()
