"""How long one waits for asynclog, and what it costs while nobody logs.

    python bench/waits.py [--json PATH|-] [--readme] [--check] [--quick]

- start: from init(), where no daemon is, to the end of the first log(), in a new process; beside other loggers.
- lag: from log() to the point in the event file, with nothing else going on; a new daemon for each turn.
- idle: CPU of the daemon while 8 ranks are silent, and of one of them; turns are periods of one silence.

Medians of the turns, five of lag and idle and seven starts, beside the worst; for lag the medians of the turns' medians
and of their 99th percentiles.
"""

from __future__ import annotations

import importlib.util
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import asynclog
import harness
from asynclogd import talk
from contenders import QUIET
from cpu import cpu_clock
from own_daemon import own_daemon

START_MS, LAG_MS, IDLE_SHARE = 50.0, 150.0, 0.005
RANKS = 8
TURNS = 5

UNCOLLECTED = "asynclog, right after torch"
"""Torch leaves the garbage collector just ahead of a full collection of all that it has made, which falls into whatever
is imported next (docs/performance.md). For all others it comes before the clock runs.
"""

STARTS = {
    "asynclog": (
        "import torch, asynclog",
        "asynclog.init('bench', 'start', dir='.', rank=0, world_size=1).log({'x': 1.0})",
    ),
    UNCOLLECTED: (
        "import torch, asynclog",
        "asynclog.init('bench', 'start', dir='.', rank=0, world_size=1).log({'x': 1.0})",
    ),
    "summarywriter": (
        "from torch.utils.tensorboard import SummaryWriter",
        "SummaryWriter('.').add_scalar('x', 1.0, 0)",
    ),
    "wandb": ("import torch, wandb", "wandb.init(project='bench', mode='offline').log({'x': 1.0})"),
}
"""What is imported before the clock runs, torch as in any training, and what it measures."""


_TIMED = """
import gc, time
{imported}
{collect}
began = time.perf_counter()
{measured}
print((time.perf_counter() - began) * 1e3, flush=True)
"""

_SILENT = """
import sys, asynclog
with asynclog.init("bench", "idle", dir=sys.argv[1], rank=int(sys.argv[2]), world_size=int(sys.argv[3])) as run:
    run.log({"x": 1.0}, step=0)
    run.flush()
    print("silent", flush=True)
    sys.stdin.read()
"""

Row = harness.Row


def start_ms(contender: str, compiled: str) -> float:
    """One start, in a new process and directory. Compiled modules are kept in `compiled`, as an installed package has
    them.
    """
    imported, measured = STARTS[contender]
    collect = "" if contender == UNCOLLECTED else "gc.collect()"
    script = _TIMED.format(imported=imported, collect=collect, measured=measured)
    with tempfile.TemporaryDirectory() as folder, own_daemon() if "asynclog" in imported else nullcontext():
        command = [sys.executable, "-c", script]
        environ = {**os.environ, **QUIET, "PYTHONPYCACHEPREFIX": compiled, "PYTHONDONTWRITEBYTECODE": ""}
        done = subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[0])


def lags_ms(count: int, turn: int = 0) -> list[float]:
    """From log() to a longer event file, at moments that have nothing to do with each other."""
    moments = np.random.default_rng(turn).uniform(0.05, 0.35, count)
    lags = []
    with (
        tempfile.TemporaryDirectory() as folder,
        own_daemon(),
        asynclog.init("bench", "lag", dir=folder, backends=["tensorboard"], rank=0, world_size=1) as run,
    ):
        run.log({"loss": 0.0})
        run.flush()
        (events,) = Path(folder).rglob("events.out.tfevents.*")
        for moment in moments:
            time.sleep(moment)
            before = events.stat().st_size
            began = time.perf_counter()
            run.log({"loss": 1.0})
            while events.stat().st_size == before:
                time.sleep(0.001)
            lags.append((time.perf_counter() - began) * 1e3)
    return lags


def idle_shares(count: int, seconds: float, turns: int) -> tuple[list[float], list[float]]:
    """The daemon's share of a core while its `count` ranks are silent, and a rank's, in each period of `seconds`."""
    with (
        tempfile.TemporaryDirectory() as folder,
        own_daemon(host_metrics=True) as endpoint,
        _silent_ranks(folder, count) as ranks,
    ):
        pids = [int(talk.ask(endpoint)["daemon"]["pid"]), ranks[0]]
        time.sleep(2.0)  # what its start has left to do
        periods = [_shares(pids, seconds) for _ in range(turns)]
    return [daemon for daemon, _ in periods], [rank for _, rank in periods]


def _shares(pids: Sequence[int], seconds: float) -> list[float]:
    before, began = [_cpu_s(pid) for pid in pids], time.perf_counter()
    time.sleep(seconds)
    took = time.perf_counter() - began
    return [(_cpu_s(pid) - cpu) / took for pid, cpu in zip(pids, before, strict=True)]


@contextmanager
def _silent_ranks(folder: str, count: int) -> Iterator[list[int]]:
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", _SILENT, folder, str(rank), str(count)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for rank in range(count)
    ]  # fmt: skip
    try:
        for rank in ranks:
            assert rank.stdout is not None
            rank.stdout.readline()
        yield [rank.pid for rank in ranks]
    finally:
        for rank in ranks:
            rank.communicate()


def _cpu_s(pid: int) -> float:
    seconds = cpu_clock(pid)
    if seconds is None:
        raise RuntimeError(f"process {pid} is gone")
    return seconds


def _is_there(contender: str) -> bool:
    return contender != "wandb" or importlib.util.find_spec(contender) is not None


def measure(starts: int, turns: int, lags: int, seconds: float) -> list[Row]:
    """A row for each thing that is waited or paid for; `lags` points and `seconds` of silence are those of a turn."""
    return [*_started(starts), _lagged(turns, lags), *_idled(turns, seconds)]


def _started(repeats: int) -> list[Row]:
    with tempfile.TemporaryDirectory() as compiled:
        starts: dict[str, list[float]] = {name: [] for name in STARTS if _is_there(name)}
        for name in starts:
            start_ms(name, compiled)  # which compiles
        for _, name in harness.interleaved(list(starts), repeats):
            starts[name].append(start_ms(name, compiled))
    return [
        {"what": "start", "contender": name, "median": statistics.median(times), "worst": max(times), "unit": "ms"}
        for name, times in starts.items()
    ]


def _lagged(turns: int, count: int) -> Row:
    lags = [lags_ms(count, turn) for turn in range(turns)]
    median = statistics.median(map(statistics.median, lags))
    worst = statistics.median(float(np.percentile(lag, 99)) for lag in lags)
    return {"what": "lag", "contender": "asynclog", "median": median, "worst": worst, "unit": "ms"}


def _idled(turns: int, seconds: float) -> list[Row]:
    rows = []
    for who, shares in zip(("daemon", "a rank"), idle_shares(RANKS, seconds, turns), strict=True):
        percent = {"median": statistics.median(shares) * 100, "worst": max(shares) * 100}
        rows.append({"what": "idle", "contender": who, **percent, "unit": "% of a core"})
    return rows


def checks_of(rows: Sequence[Row]) -> list[harness.Check]:
    """What is promised."""
    found = {(row["what"], row["contender"]): row for row in rows}
    return [
        *(
            harness.Check(f"from init() to the end of the first log(), ms: {name}", row["median"], START_MS)
            for (what, name), row in found.items()
            if what == "start" and name.startswith("asynclog")
        ),
        harness.Check("from log() to the event file, 99th percentile, ms", found["lag", "asynclog"]["worst"], LAG_MS),
        harness.Check("the idle daemon's % of a core", found["idle", "daemon"]["median"], IDLE_SHARE * 100),
    ]


HEADER = ("", "", "median", "worst turn; lag: p99")


def cells_of(rows: Sequence[Row]) -> list[list[str]]:
    """A line a row."""
    return [
        [row["what"], row["contender"], f"{harness.short(row['median'])} {row['unit']}", harness.short(row["worst"])]
        for row in rows
    ]


def main() -> int:
    assert __doc__ is not None
    options = harness.parser(__doc__).parse_args()
    rows = measure(*((1, 1, 10, 2.0) if options.quick else (7, TURNS, 100, 10.0)))
    shown = harness.Shown(
        "waits", "what one waits for, and pays for silence", HEADER, cells_of(rows), ("asynclogd", "torch", "wandb")
    )
    return harness.report(options, rows, shown, checks_of(rows))


if __name__ == "__main__":
    raise SystemExit(main())
