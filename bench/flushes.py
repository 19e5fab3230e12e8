"""What logging adds to a step of a DDP training on cores that the ranks need: by the steps that flushes meet.

    python bench/flushes.py [--json PATH|-] [--readme] [--check] [--quick]

Two ranks (gloo, real gradients, steps of about 5 ms) log 20 metrics at every step: to nothing, to asynclog, to the
least daemon that there could be (least_daemon.py: the floor of what a flush a second costs), and by an all_reduce for
each metric. Where cores are short all ranks flush at the same moment, each second of the machine's clock (fixed here,
whatever the machine). So the steps of the 150 ms after it are compared with the others of their second: whole steps
swing by more than a flush takes. The logger that does nothing, in turns without a run or a daemon, has "flushes" too,
which say how well that can tell. Whole steps stand there as well: of each round the turn beside the no-op logger's, in
an order that gives every way each place equally often and, within a round, each predecessor. After ± is the standard
error. "CPU beside": of the ranks' senders and the daemon, for each step.
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
LABELS = {**WAYS, "least": "least daemon"}
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
ROUNDS, SECONDS = 8, 14.0
"""Rounds are a multiple of the ways: see `balanced`."""
QUICK_SECONDS = 5.0
"""Two whole seconds remain of it where steps come to take little more than half of what they took at the start."""
ADDED = ("by_flushes_us", "by_flushes_error_us")
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
    # Means, for places of a round cancel out in their sum; the median of a few turns has no error that can be trusted.
    whole = {"whole_us": statistics.fmean(over), "whole_error_us": harness.error_of_mean(over)}
    return {**row, "step_us": statistics.median(turns), **whole}


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """A line a way to log."""
    least_us = by_way(rows)["least"]["beside_us"]
    return [
        [
            LABELS[row["way"]],
            harness.short(row["step_us"]),
            harness.give_or_take(row["by_flushes_us"], row["by_flushes_error_us"]) if row["way"] != "each" else "",
            harness.give_or_take(row["whole_us"], row["whole_error_us"]) if row["way"] != "noop" else "",
            harness.against(row["beside_us"], least_us) if row["beside_us"] else "",
            harness.short(row["call_us"]),
            harness.short(row["call_p99_us"]),
        ]
        for row in rows
    ]


def by_way(rows: Sequence[Row]) -> dict[str, Row]:
    """The rows by how they log."""
    return {row["way"]: row for row in rows}


def over_least(rows: Sequence[Row]) -> str:
    """How many times what the least daemon adds asynclog does, each beyond the no-op logger, where that is told from
    nothing: a ratio whose divisor is within two errors of zero may be anything.
    """
    ways = by_way(rows)
    values, errors = ([ways[way][key] for way in ("noop", "asynclog", "least")] for key in ADDED)
    noop, ours, least = values
    floor, floor_error = least - noop, math.hypot(errors[0], errors[2])
    if floor <= 2 * floor_error:
        return f"The least daemon adds {harness.give_or_take(floor, floor_error)} us, too near nothing for a ratio."
    ratio = (ours - noop) / floor
    # The no-op logger is in both differences.
    error = math.hypot(errors[1], ratio * errors[2], (ratio - 1) * errors[0]) / floor
    return f"asynclog adds {harness.give_or_take(ratio, error)} times what the least daemon does."


def checks(rows: Sequence[Row]) -> list[harness.Check]:
    """Of a step, and of what an all_reduce a metric adds. Less than the clock can tell is not less."""
    ways = by_way(rows)
    noop, ours, each = ways["noop"], ways["asynclog"], ways["each"]
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
    distributions = ["asynclogd", "torch", "pyzmq", "msgpack"]
    shown = harness.Shown("flushes", TITLE, HEADER, cells(rows), distributions, over_least(rows))
    return harness.report(options, rows, shown, checks(rows))


if __name__ == "__main__":
    sys.exit(main())
