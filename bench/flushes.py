"""What logging adds to a step of a DDP training on cores that the ranks need: by the steps that flushes meet.

    python bench/flushes.py [--json PATH|-] [--readme] [--check] [--quick]

Two ranks (gloo, real gradients, steps of about 5 ms) log 20 metrics at every step: to nothing, to asynclog, and by an
all_reduce for each metric. Where cores are short all ranks flush at the same moment, each second of the machine's clock
(fixed here, whatever the machine). So the steps of the 150 ms after it are compared with the others of their second:
whole steps swing by more than a flush takes. The logger that does nothing, in turns without a run or a daemon, has
"flushes" too, which say how well that can tell; whole steps, a turn of each beside the other, stand there as well.
After ± is the standard error. "CPU beside": of the ranks' senders and the daemon, for each step.
"""

from __future__ import annotations

import math
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
from ddp import METRICS, OF_A_STEP, OF_EACH, WAYS, trained

PROCESS = Path(__file__).with_name("flushes_process.py")
TITLE = "two ranks on their cores, 20 metrics a step"
HEADER = (
    "",
    "step us",
    "added by flushes and calls us",
    "whole steps, over no-op us",
    "CPU beside us",
    "call us",
    "p99",
)
ROUNDS, SECONDS = 5, 24.0
QUICK_SECONDS = 3.5
Row = harness.Row


def measure(rounds: int, seconds: float) -> list[Row]:
    """So many turns of so long with each way to log; a row each. RuntimeError when the training fails."""
    rows = trained(PROCESS, 2, [str(rounds), str(seconds), str(METRICS)], ASYNCLOG_FLUSH_MS="1000")
    noop = rows[0]["turns_us"]
    return [beside_noop(row, noop) for row in rows]


def beside_noop(row: Row, noop: Sequence[float]) -> Row:
    """The row with its step's median, and what its turns' whole steps take beyond those of the no-op logger's."""
    turns = row.pop("turns_us")
    over = [mine - theirs for mine, theirs in zip(turns, noop, strict=True)]
    whole = {"whole_us": statistics.median(over), "whole_error_us": harness.error_of_median(over)}
    return {**row, "step_us": statistics.median(turns), **whole}


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """A line a way to log."""
    return [
        [
            WAYS[row["way"]],
            harness.short(row["step_us"]),
            harness.give_or_take(row["by_flushes_us"], row["by_flushes_error_us"]) if row["way"] != "each" else "",
            harness.give_or_take(row["whole_us"], row["whole_error_us"]) if row["way"] != "noop" else "",
            harness.short(row["beside_us"]) if row["way"] == "asynclog" else "",
            harness.short(row["call_us"]),
            harness.short(row["call_p99_us"]),
        ]
        for row in rows
    ]


def checks(rows: Sequence[Row]) -> list[harness.Check]:
    """Of a step, and of what an all_reduce a metric adds. Less than the clock can tell is not less."""
    noop, ours, each = rows
    error = math.hypot(ours["by_flushes_error_us"], noop["by_flushes_error_us"])
    added = max(ours["by_flushes_us"] - noop["by_flushes_us"], error)
    return [
        harness.Check("added by logging, of a step", added / noop["step_us"], OF_A_STEP),
        harness.Check("the same, over an all_reduce a metric", added / each["whole_us"], OF_EACH),
    ]


def main() -> int:
    options = harness.parser(__doc__ or "").parse_args()
    with harness.console(options.json).status("training on 2 ranks"):
        rows = measure(1, QUICK_SECONDS) if options.quick else measure(ROUNDS, SECONDS)
    shown = harness.Shown("flushes", TITLE, HEADER, cells(rows), ["asynclogd", "torch"])
    return harness.report(options, rows, shown, checks(rows))


if __name__ == "__main__":
    sys.exit(main())
