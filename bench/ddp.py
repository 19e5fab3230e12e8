"""What logging adds to a step of a DDP training (gloo, real gradients), and what reducing in the trainer would add.

    python bench/ddp.py [--json PATH|-] [--readme] [--check] [--quick] [--ranks N]

Two and four ranks log 1 to 10,000 metrics at every step of about 5 ms, in five ways: a no-op logger; asynclog;
one all_reduce of all metrics packed into a tensor, whose means are read; that collective alone; one all_reduce for
each metric. Blocks of steps with each of them and without take turns within one training, so what a step takes is
compared with the blocks around, and the training's mood is the same; after ± is the standard error, and flushes.py
looks closer. A last line says between which numbers of metrics asynclog comes to add more than the packed one. "CPU
beside": of the ranks' senders and the daemon, for each step; where no core is idle it is taken from the training.
"Uneven": each rank in turn is 2 ms late before it logs, and another after that.
"""

from __future__ import annotations

import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
from contenders import QUIET
from own_daemon import own_daemon

PROCESS = Path(__file__).with_name("ddp_process.py")
CASES: dict[int, tuple[str, ...]] = {
    2: ("1", "20", "100", "1000", "3000", "10000", "20+uneven"),
    4: ("20", "1000", "10000"),
}
QUICK: dict[int, tuple[str, ...]] = {2: ("20", "20+uneven")}
BLOCK = 200
"""Steps of a block, about a second: where cores are short the sender flushes so often, so each block has its flush."""
OF_A_STEP, OF_EACH, METRICS = 0.005, 1 / 50, 20
WAYS = {
    "noop": "no-op logger",
    "asynclog": "asynclog",
    "alone": "all_reduce alone",
    "packed": "packed all_reduce",
    "each": "an all_reduce a metric",
}
HEADER = ("", "ranks", "metrics", "step us", "added us", "CPU beside us", "in the call us", "p99", "by asynclog's")
Row = harness.Row


def measure(ranks: int, cases: Sequence[str], rounds: int, steps: int) -> list[Row]:
    """Train on so many ranks, so many steps a block; one row a case and way to log. RuntimeError when that fails."""
    return [summarized(row) for row in trained(PROCESS, ranks, [str(rounds), str(steps), *cases])]


def trained(process: Path, ranks: int, arguments: Sequence[str], **environ: str) -> list[Row]:
    """What the ranks of a training answer."""
    with tempfile.TemporaryDirectory(prefix="asynclog-bench-", ignore_cleanup_errors=True) as folder, own_daemon():
        answer = Path(folder) / "answer.json"
        launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={ranks}"]
        command = [sys.executable, *launcher, str(process), folder, str(answer), *arguments]
        environ = {**os.environ, **QUIET, "OMP_NUM_THREADS": "1", **environ}
        done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
        if done.returncode != 0:
            raise RuntimeError(f"training on {ranks} ranks failed:\n{done.stderr[-3000:]}")
        rows: list[Row] = json.loads(answer.read_text())
    return rows


def summarized(row: Row) -> Row:
    """Medians over the blocks, and quantiles of the calls."""
    step_us, without_us, calls_us = (row.pop(key) for key in ("step_us", "without_us", "calls_us"))
    added = [step - without for step, without in zip(step_us, without_us, strict=True)]
    rank_us, daemon_us = (statistics.fmean(row.pop(key)) for key in ("rank_us", "daemon_us"))
    quantiles = harness.quantiles_us([round(call * 1e3) for call in calls_us])
    return {
        **row,
        "step_us": statistics.median(step_us),
        "without_us": statistics.median(without_us),
        "added_us": statistics.median(added),
        "added_error_us": harness.error_of_median(added),
        "beside_us": rank_us * row["ranks"] + daemon_us,
        "call_us": quantiles["p50_us"],
        "call_p99_us": quantiles["p99_us"],
        "blocks": len(step_us),
    }


def found(rows: Sequence[Row], ranks: int, metrics: int, way: str) -> Row | None:
    """A row of ranks that are even; None when it was not measured."""
    for row in rows:
        if row["way"] == way and _case(row) == (ranks, metrics, False):
            return row
    return None


def crossover(rows: Sequence[Row], ranks: int) -> str:
    """Between which numbers of metrics asynclog comes to add more to a step than a packed all_reduce does. A difference
    within two of its errors decides nothing.
    """
    less: list[int] = []
    more: list[int] = []
    for metrics in sorted({row["metrics"] for row in rows if row["ranks"] == ranks}):
        ours, packed = found(rows, ranks, metrics, "asynclog"), found(rows, ranks, metrics, "packed")
        if ours is not None and packed is not None:
            over = ours["added_us"] - packed["added_us"]
            error = math.hypot(ours["added_error_us"], packed["added_error_us"])
            if abs(over) > 2 * error:
                (less if over < 0 else more).append(metrics)
    below = [metrics for metrics in less if not more or metrics < more[0]]
    if below and more:
        return f"{ranks} ranks: between {below[-1]:,} and {more[0]:,} metrics"
    if not (below or more):
        return f"{ranks} ranks: not told"
    return f"{ranks} ranks: " + (f"above {below[-1]:,} metrics" if below else f"below {more[0]:,} metrics")


def crossovers(rows: Sequence[Row]) -> str:
    """The same in one line for all numbers of ranks."""
    told = [crossover(rows, ranks) for ranks in sorted({row["ranks"] for row in rows})]
    return f"asynclog comes to add more than a packed all_reduce: {'; '.join(told)}."


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """A line a row; in the last column how many times asynclog's call."""
    ours = {_case(row): row["call_us"] for row in rows if row["way"] == "asynclog"}
    made = []
    for row in rows:
        how = ", uneven ranks" if row["uneven"] else ""
        added = harness.give_or_take(row["added_us"], row["added_error_us"])
        beside = harness.short(row["beside_us"]) if row["way"] == "asynclog" else ""
        step, call, p99 = (harness.short(row[key]) for key in ("step_us", "call_us", "call_p99_us"))
        times = row["call_us"] / ours[_case(row)]
        numbers = [step, added, beside, call, p99]
        made.append([WAYS[row["way"]] + how, str(row["ranks"]), f"{row['metrics']:,}", *numbers, f"{times:.1f}x"])
    return made


def _case(row: Row) -> tuple[object, ...]:
    return row["ranks"], row["metrics"], row["uneven"]


def checks(rows: Sequence[Row]) -> list[harness.Check]:
    """What is promised of two ranks and 20 metrics, and that no number of metrics makes the collective cheaper."""
    made = []
    ours, theirs = found(rows, 2, METRICS, "asynclog"), found(rows, 2, METRICS, "each")
    if ours is not None and theirs is not None:
        made.append(harness.Check("in the call, of a step", ours["call_us"] / ours["without_us"], OF_A_STEP))
        share = ours["call_us"] / theirs["call_us"]
        made.append(harness.Check("in the call, over an all_reduce a metric", share, OF_EACH))
    for row in rows:
        packed = found(rows, row["ranks"], row["metrics"], "packed")
        if row["way"] == "asynclog" and not row["uneven"] and packed is not None:
            about = f"{row['ranks']} ranks, {row['metrics']:,} metrics: in the call, over a packed all_reduce"
            made.append(harness.Check(about, row["call_us"] / packed["call_us"], 1.0))
    return made


def main() -> int:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--ranks", type=int, action="append", choices=list(CASES), help="only on so many")
    parser.add_argument("--rounds", type=int, help="blocks of each way to log (default 5; quick 2)")
    parser.add_argument("--steps", type=int, default=BLOCK, help="steps of a block")
    options = parser.parse_args()
    out = harness.console(options.json)
    cases, rounds = (QUICK, options.rounds or 2) if options.quick else (CASES, options.rounds or 5)
    rows: list[Row] = []
    for ranks in options.ranks or cases:
        with out.status(f"training on {ranks} ranks"):
            rows += measure(ranks, cases.get(ranks, QUICK[2]), rounds, options.steps)
    title, footnote = "a step of a DDP training, by how it logs", f"{crossovers(rows)} {rounds} blocks each."
    shown = harness.Shown("ddp", title, HEADER, cells(rows), ["asynclogd", "torch"], footnote)
    return harness.report(options, rows, shown, checks(rows))


if __name__ == "__main__":
    raise SystemExit(main())
