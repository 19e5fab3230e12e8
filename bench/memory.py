"""Does the daemon's memory stay flat over an hour of training?

    python bench/memory.py [--json PATH|-] [--readme] [--check] [--quick]

Eight ranks log 1,000 names ten times a second: 288 million values in an hour. A real daemon with a journal and
TensorBoard files is fed the same rows, one a message, as fast as it acks them: all of the hour, which needs 5 GB of
disk and some two minutes, or a hundredth with --quick. Resident memory is read before the first row, at each quarter
and when all is delivered.
"""

from __future__ import annotations

import struct
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
from asynclog_proto.records import End, Layout, Row, encode
from bare_ranks import BareRank, joined
from cpu import cpu_clock
from own_daemon import started_daemon

RANKS, STEPS_AN_HOUR = 8, 36_000
NAMES = tuple(f"train/metric_{index}" for index in range(1000))
AT_ONCE = 20
"""Steps that go out before their acks are waited for: 1.3 MB."""
LIMIT_MB, GROWTH_MB = 200.0, 16.0
SETTLED_STEPS = 2500
POINTS = ("start", "1/4", "2/4", "3/4", "4/4", "end")
HEADER = ("", "simulated", "scalars", "took s", "daemon CPU s", *(f"MB, {point}" for point in POINTS), "peak")


class Rows:
    """A rank's rows: the same values at steps and times that go on."""

    def __init__(self, rank: int) -> None:
        self._row = bytearray(encode(Row(0, 0, 0.0, 1.0, tuple(rank + index / 7 for index in range(len(NAMES))))))
        self._began = time.time()

    def at(self, step: int) -> bytes:
        """The row of a step, a tenth of a second after the one before it."""
        struct.pack_into(">qBd", self._row, 8, step, 0xCB, self._began + step / 10)
        return bytes(self._row)


def feed(ranks: Sequence[BareRank], rows: Sequence[Rows], steps: range) -> None:
    """Say these steps; all but the last acks have come when it returns."""
    for step in steps:
        for rank, its in zip(ranks, rows, strict=True):
            rank.say(its.at(step))
        if (step + 1) % AT_ONCE == 0:
            for rank in ranks:
                rank.wait_for_acks(60.0)


def measure(steps: int) -> harness.Row:
    """Feed a run of so many steps: what the daemon takes, and its memory (MB) at each point."""
    steps = steps // (4 * AT_ONCE) * 4 * AT_ONCE
    with (
        tempfile.TemporaryDirectory() as folder,
        started_daemon() as (endpoint, process),
        joined(endpoint, Path(folder), RANKS) as ranks,
    ):
        daemon, rows = psutil.Process(process.pid), [Rows(rank.rank) for rank in ranks]
        for rank in ranks:
            rank.say(encode(Layout(0, NAMES)))
            rank.wait_for_acks(30.0)
        cpu_s, began = cpu_clock(process.pid) or 0.0, time.perf_counter()
        resident = [daemon.memory_info().rss]
        for quarter in range(4):
            feed(ranks, rows, range(steps * quarter // 4, steps * (quarter + 1) // 4))
            resident.append(daemon.memory_info().rss)
        for rank in ranks:
            rank.say(encode(End("success")))
        for rank in ranks:
            rank.finish(steps * len(NAMES), 600.0)
        resident.append(daemon.memory_info().rss)
        cpu_s, took = (cpu_clock(process.pid) or 0.0) - cpu_s, time.perf_counter() - began
        peak_mb = _peak_mb(process.pid)
    return {
        "ranks": RANKS, "names": len(NAMES), "steps": steps, "scalars": steps * len(NAMES) * RANKS,
        "share_of_an_hour": steps / STEPS_AN_HOUR, "took_s": took, "cpu_s": cpu_s,
        "rss_mb": [rss / 2**20 for rss in resident], "peak_mb": peak_mb,
    }  # fmt: skip


def _peak_mb(pid: int) -> float:
    """The most that a process has had; of its own reading where the system does not keep it."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024
    except (OSError, StopIteration):
        return psutil.Process(pid).memory_info().rss / 2**20


def cells(rows: Sequence[harness.Row]) -> list[list[str]]:
    """A line a run."""
    return [
        [
            f"{row['ranks']} ranks x {row['names']:,} names",
            f"{60 * row['share_of_an_hour']:.3g} min",
            *(harness.short(row[key]) for key in ("scalars", "took_s", "cpu_s")),
            *(f"{mb:.0f}" for mb in [*row["rss_mb"], row["peak_mb"]]),
        ]
        for row in rows
    ]


def checks(rows: Sequence[harness.Row]) -> list[harness.Check]:
    """Under the limit, and flat once all that is kept for late values and buffers has filled."""
    made = []
    for row in rows:
        made.append(harness.Check("the daemon's memory at its peak, MB", row["peak_mb"], LIMIT_MB))
        settled = next((point for point in range(1, 5) if row["steps"] * point / 4 >= SETTLED_STEPS), None)
        if settled is not None:
            grown = max(row["rss_mb"][settled + 1 :]) - row["rss_mb"][settled]
            made.append(harness.Check(f"it grows after {POINTS[settled]} by MB", grown, GROWTH_MB))
    return made


def main() -> int:
    options = harness.parser(__doc__ or "").parse_args()
    out = harness.console(options.json)
    share = 0.01 if options.quick else 1.0
    with out.status("feeding a daemon"):
        rows = [measure(round(share * STEPS_AN_HOUR))]
    shown = harness.Shown("memory", "the daemon's memory", HEADER, cells(rows), ("asynclogd", "numpy"))
    return harness.report(options, rows, shown, checks(rows))


if __name__ == "__main__":
    raise SystemExit(main())
