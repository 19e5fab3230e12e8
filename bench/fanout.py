"""Does one slow backend delay the others? Lag from log() to the end of the flush, with and without one among four.

    python bench/fanout.py [--json PATH|-] [--readme] [--check] [--quick]

A real daemon delivers a real run (10 numbers at 100 steps a second) to CSV, JSONL, TensorBoard and a fourth backend,
which answers at once, or takes 1 s for every call. The rest is the same; the two take turns. Lag is from the time that
log() gave the row to the end of the flush that had it, noted in the backend; it begins to count when the first step is
there. What the slow one has in the end is counted too.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import asynclog
import harness
from fanout_backends import LAGS
from own_daemon import own_daemon

HERE = Path(__file__).resolve().parent
OTHERS = ("csv", "jsonl", "tensorboard")
FOURTH = "fourth"
SECONDS = {"quick": 0.0, "slow": 1.0}
"""What a call of the fourth backend takes, by contender."""

NAMES = [f"train/metric_{number}" for number in range(10)]
PERIOD = 0.01
PROMISED = 1.10

Row = harness.Row


def backends(contender: str) -> dict[str, dict[str, object]]:
    """The four backends of a run, by name."""
    classes = {"csv": "TimedCsv", "jsonl": "TimedJsonl", "tensorboard": "TimedTensorBoard", FOURTH: "Call"}
    file = HERE / "fanout_backends.py"
    chosen: dict[str, dict[str, object]] = {
        f"timed_{name}": {"class": f"{file}:{kind}", "subdir": name} for name, kind in classes.items()
    }
    chosen[f"timed_{FOURTH}"]["seconds"] = SECONDS[contender]
    return chosen


def logged(directory: Path, contender: str, steps: int) -> dict[str, np.ndarray]:
    """One run, logged at its pace. The lags of each backend, s, in order."""
    with asynclog.init(project="fanout", name=contender, dir=str(directory), backends=backends(contender)) as run:
        run.log(dict.fromkeys(NAMES, 0.0), step=0)
        run.flush(timeout=60)  # the daemon has started, and the local backends are open
        began = time.perf_counter()
        for step in range(1, steps + 1):
            run.log(dict.fromkeys(NAMES, float(step)), step=step)
            time.sleep(max(0.0, began + step * PERIOD - time.perf_counter()))
        run.finish(timeout=120)
    run_dir = directory / "fanout" / contender
    deadline = time.monotonic() + 120
    while (found := lags(run_dir, FOURTH)).size < steps and time.monotonic() < deadline:
        time.sleep(0.1)
    return {**{name: lags(run_dir, name) for name in OTHERS}, FOURTH: found}


def lags(run_dir: Path, name: str) -> np.ndarray:
    """Those of the steps after the first."""
    path = run_dir / name / LAGS
    return np.fromfile(path)[1:] if path.exists() else np.empty(0)


def measure(repeats: int, steps: int) -> list[Row]:
    """A row for each run and backend: lags in ms, and how many steps it had in the end."""
    rows: list[Row] = []
    for _, contender in harness.interleaved(list(SECONDS), repeats):
        with tempfile.TemporaryDirectory(prefix="fanout-") as directory, own_daemon():
            for name, found in logged(Path(directory), contender, steps).items():
                rows.append(
                    {
                        "contender": contender,
                        "backend": name,
                        "call_s": SECONDS[contender] if name == FOURTH else None,
                        "steps": steps,
                        "delivered": int(found.size),
                        "median_ms": float(np.median(found)) * 1e3,
                        "p99_ms": float(np.percentile(found, 99)) * 1e3,
                    }
                )
    return rows


def checks(rows: Sequence[Row]) -> list[harness.Check]:
    by_place = {(row["contender"], row["backend"]): row for row in rows}
    lost = sum(row["steps"] - row["delivered"] for row in rows)
    found = []
    for what, key in (("lag", "median_ms"), ("99th percentile of lag", "p99_ms")):
        ratios = [by_place["slow", name][key] / by_place["quick", name][key] for name in OTHERS]
        text = f"the others' {what} beside a slow backend, over theirs without"
        found.append(harness.Check(f"{text} (median of three)", statistics.median(ratios), PROMISED))
        found.append(harness.Check(f"{text} (the worst of the three)", max(ratios), PROMISED))
    return [*found, harness.Check("steps that a backend never had", lost, 0)]


def cells(rows: Sequence[Row]) -> list[list[str]]:
    by_place = {(row["contender"], row["backend"]): row for row in rows}
    made = []
    for name in (*OTHERS, FOURTH):
        without, beside = by_place["quick", name], by_place["slow", name]
        shown = [harness.short(without["median_ms"]), harness.short(without["p99_ms"])]
        shown += [harness.against(beside[key], without[key], 2) for key in ("median_ms", "p99_ms")]
        made.append([f"{name} (0 s, 1 s a call)" if name == FOURTH else name, *shown])
    return made


HEADER = ("lag, ms", "without a slow one: median", "p99", "beside a slow one: median", "p99")


def main() -> int:
    assert __doc__ is not None
    options = harness.parser(__doc__).parse_args()
    repeats, steps = (1, 150) if options.quick else (5, 1000)
    rows = harness.median_rows(measure(repeats, steps), ("contender", "backend"))
    title = "one slow backend among four"
    footnote = f"{len(NAMES)} numbers a step, {1 / PERIOD:.0f} steps a second; {repeats} runs of each, medians."
    shown = harness.Shown("fanout", title, HEADER, cells(rows), ["tensorboard", "numpy"], footnote)
    return harness.report(options, rows, shown, checks(rows))


if __name__ == "__main__":
    raise SystemExit(main())
