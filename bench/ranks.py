"""Many ranks at one daemon: does each step close with all of them, how soon, and what does a rank cost?

    python bench/ranks.py [--json PATH|-] [--readme] [--check] [--quick]

128 to 1,024 ranks, each a connection that this process holds, log 10 numbers at the same moment, twice a second or when
the last step has closed, to a real daemon with a journal and TensorBoard files. Rank 0 asks for the mean of each step:
it comes when the step closes, and it is right only when every rank is in it. CPU is the daemon's, a rank and step.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
from asynclog_proto import frames
from asynclog_proto.records import Layout, Row, encode
from bare_ranks import BareRank, joined
from cpu import cpu_clock
from own_daemon import started_daemon

RANKS = (128, 256, 512, 1024)
NAMES = tuple(f"train/metric_{index}" for index in range(10))
PERIOD_S = 0.5
WARM_UP_STEPS = 4
DEADLINE_S = 30.0
GROWTH = 1.25
"""A rank of many may cost this many times one of few: noise."""
HEADER = (
    "ranks",
    "join s",
    "steps with all ranks",
    "closed after ms, median",
    "worst",
    "daemon CPU us a rank and step",
    "MB",
)


def closing_s(ranks: Sequence[BareRank], step: int) -> tuple[float, bool]:
    """All log a step: how long after the last of them it closes, and whether with all of them."""
    for rank in ranks:
        rank.say(encode(Row(0, step, time.time(), 1.0, (float(step + rank.rank),) * len(NAMES))))
    ranks[0].ask(NAMES[0], step)
    began = time.perf_counter()
    value = ranks[0].answer(frames.Value, 2 * DEADLINE_S).value
    took = time.perf_counter() - began
    for rank in ranks:
        rank.pass_over()
    return took, value == step + (len(ranks) - 1) / 2


def measure(world: int, steps: int) -> harness.Row:
    """One run of so many ranks, a row."""
    with tempfile.TemporaryDirectory() as folder, started_daemon() as (endpoint, process):
        began = time.perf_counter()
        with joined(endpoint, Path(folder), world) as ranks:
            join_s = time.perf_counter() - began
            for rank in ranks:
                rank.say(encode(Layout(0, NAMES)))
            closed, cpu_s, due = [], 0.0, time.perf_counter()
            for step in range(WARM_UP_STEPS + steps):
                if step == WARM_UP_STEPS:
                    cpu_s = cpu_clock(process.pid) or 0.0
                closed.append(closing_s(ranks, step))
                due += PERIOD_S
                time.sleep(max(0.0, due - time.perf_counter()))
            cpu_s = (cpu_clock(process.pid) or 0.0) - cpu_s
            rss_mb = psutil.Process(process.pid).memory_info().rss / 2**20
    lags = [1e3 * took for took, _ in closed[WARM_UP_STEPS:]]
    return {
        "ranks": world,
        "steps": steps,
        "whole_steps": sum(whole for _, whole in closed[WARM_UP_STEPS:]),
        "join_s": join_s,
        "closed_ms": sorted(lags)[len(lags) // 2],
        "worst_ms": max(lags),
        "cpu_us": cpu_s / steps / world * 1e6,
        "rss_mb": rss_mb,
    }


def cells(rows: Sequence[harness.Row]) -> list[list[str]]:
    """A line a number of ranks; in brackets how many times the CPU of the fewest."""
    made = []
    for row in rows:
        whole = f"{row['whole_steps']:.0f} of {row['steps']:.0f}"
        numbers = [harness.short(row[key]) for key in ("closed_ms", "worst_ms")]
        cpu = harness.against(row["cpu_us"], rows[0]["cpu_us"], 2)
        made.append([f"{row['ranks']:,}", harness.short(row["join_s"]), whole, *numbers, cpu, f"{row['rss_mb']:.0f}"])
    return made


def checks(rows: Sequence[harness.Row]) -> list[harness.Check]:
    """Steps close with all ranks and long before the deadline; what a rank costs does not grow with their number."""
    made = []
    for row in rows:
        name = f"{row['ranks']:,} ranks"
        made.append(harness.Check(f"{name}: steps without all of them", row["steps"] - row["whole_steps"], 0))
        made.append(harness.Check(f"{name}: the last step closed after ms", row["worst_ms"], 1e3 * DEADLINE_S))
    grown = rows[-1]["cpu_us"] / rows[0]["cpu_us"]
    return [*made, harness.Check(f"CPU of a rank, {rows[-1]['ranks']:,} over {rows[0]['ranks']:,}", grown, GROWTH)]


def main() -> int:
    options = harness.parser(__doc__ or "").parse_args()
    out = harness.console(options.json)
    worlds, repeats, steps = (RANKS[:2], 1, 4) if options.quick else (RANKS, 5, 12)
    rows = []
    with out.status("ranks"):
        for _, world in harness.interleaved([str(ranks) for ranks in worlds], repeats):
            rows.append(measure(int(world), steps))
    # What was promised of each repeat holds of the worst of them.
    worst = {world: max(row["worst_ms"] for row in rows if row["ranks"] == world) for world in worlds}
    whole = {world: min(row["whole_steps"] for row in rows if row["ranks"] == world) for world in worlds}
    rows = sorted(harness.median_rows(rows, ["ranks"]), key=lambda row: row["ranks"])
    rows = [{**row, "worst_ms": worst[row["ranks"]], "whole_steps": whole[row["ranks"]]} for row in rows]
    shown = harness.Shown("ranks", "many ranks at one daemon", HEADER, cells(rows), ("asynclogd", "pyzmq", "numpy"))
    return harness.report(options, rows, shown, checks(rows))


if __name__ == "__main__":
    raise SystemExit(main())
