"""What the daemon costs as the work grows: by names a row, ranks, rows a second, backends, and the length of a run.

    python bench/growth.py [--quick] [--json PATH|-] [--readme] [--check] [--only names --only length]

A real daemon, ranks that are simulated (simulated_ranks.py), the run delivered to TensorBoard. CPU is all of the
daemon's, from the socket to the files, without its start and the first batches. Each axis changes one thing:

  names     1 to 10,000 names a row; 8 ranks, batches of 128 KiB as fast as they are acked. Wide rows fill the history
            of closed steps first, and then come for long enough that the journal has two snapshots of it
  ranks     1 to 1,000 ranks of 10 names; 100 rows a batch
  rate      10 to 10,000 rows a second of each of 8 ranks, 10 names, sent every 0.1 s, as while cores are idle
  backends  0 to 8 TensorBoard directories; 8 ranks, 10 names
  length    10^5 to 10^8 values in a run; 8 ranks, 10 names, a new daemon for each. Then it is killed, its journal is
            opened again (restart), and the run is replayed from it to another TensorBoard directory
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil

import harness
from asynclogd.catalog import JOURNAL
from asynclogd.journal import Journal
from asynclogd.reducer import ReducerSettings
from asynclogd.replay import Replay
from asynclogd.store import RunStore
from batches import Stream
from cpu import cpu_clock
from growth_report import AXES, checks_of, footnote, printed, readme_block
from harness import Row
from own_daemon import started_daemon
from simulated_ranks import FLUSH_S, SimulatedRanks

NAMES, RANKS = 10, 8
DECADES = (1, 10, 100, 1_000, 10_000)
RANK_COUNTS = (1, 10, 100, 1_000)
RATES = (10, 100, 1_000, 10_000)
BACKEND_COUNTS = (0, 1, 2, 4, 8)
STEPS_OF_A_BATCH = 100
WIDE = 1_000
"""Names of a row beyond which a batch has so few steps that more batches are needed to see what history costs."""
LONG_STEPS = 1_250
ROUND = LONG_STEPS * RANKS * NAMES
"""Values that a round of a long run says: a divisor of every decade."""

TENSORBOARD = "asynclogd.backends.tensorboard:TensorBoardBackend"
REPLAY_S = 600.0


class Daemon:
    """A daemon that answers, its process, and a folder for its runs."""

    def __init__(self, endpoint: str, process: subprocess.Popen[bytes], folder: Path) -> None:
        self.endpoint, self.process, self.folder = endpoint, process, folder
        self._runs = 0

    def ranks(self, streams: list[Stream], backends: int = 1) -> SimulatedRanks:
        """A new run, delivered to so many TensorBoard directories."""
        self._runs += 1
        return SimulatedRanks(self.endpoint, self.folder, f"run{self._runs}", streams, tensorboards(backends))

    @property
    def cpu_s(self) -> float:
        """Seconds of CPU that it took so far. Raises RuntimeError when it is gone."""
        seconds = cpu_clock(self.process.pid)
        if seconds is None:
            raise RuntimeError("the daemon is gone")
        return seconds


def tensorboards(count: int) -> dict[str, dict[str, str]]:
    """So many backends that do the same work, each in a directory of its own; one is what every run has."""
    if count == 1:
        return {"tensorboard": {}}
    return {f"tensorboard{number}": {"class": TENSORBOARD} for number in range(count)}


@contextmanager
def new_daemon() -> Iterator[Daemon]:
    """One that has delivered a run already, so that what it imports late is measured nowhere."""
    with (
        tempfile.TemporaryDirectory(prefix="asynclog-growth-", ignore_cleanup_errors=True) as folder,
        started_daemon() as (endpoint, process),
    ):
        daemon = Daemon(endpoint, process, Path(folder))
        with daemon.ranks(streams_of()) as ranks:
            ranks.rounds(1)
            ranks.finish()
        yield daemon


def streams_of(names: int = NAMES, ranks: int = RANKS, steps: int | None = None) -> list[Stream]:
    """What each rank says; `steps` in a batch."""
    return [Stream(rank, names, steps=steps) for rank in range(ranks)]


def cost(
    daemon: Daemon, streams: list[Stream], rounds: int, *, settle: int = 1, backends: int = 1, every_s: float = 0.0
) -> Row:
    """The daemon's CPU for `rounds` batches of each rank after `settle` others, until all is in the files."""
    with daemon.ranks(streams, backends) as ranks:
        ranks.rounds(settle)
        before, said, began = daemon.cpu_s, ranks.scalars, time.perf_counter()
        ranks.rounds(rounds, every_s=every_s)
        logged, took = daemon.cpu_s, time.perf_counter() - began
        ranks.finish()
        ended, scalars = daemon.cpu_s, ranks.scalars - said
    return {
        "scalars": scalars,
        "ns_per_scalar": (ended - before) / scalars * 1e9,
        "core_percent": (logged - before) / took * 100,
        "end_ms_per_rank": (ended - logged) / len(streams) * 1e3,
    }


def cases(*, quick: bool) -> dict[tuple[str, int], Callable[[Daemon], Row]]:
    """What is measured of all axes but length, by axis and place on it."""
    rounds, seconds = (5, 1.0) if quick else (50, 5.0)
    found: dict[tuple[str, int], Callable[[Daemon], Row]] = {}
    for names in DECADES:
        found["names", names] = partial(_named, names, rounds)
    for ranks in RANK_COUNTS:
        found["ranks", ranks] = partial(_ranked, ranks, max(rounds // 10, 4 * rounds // ranks, 1))
    for rate in RATES:
        found["rate", rate] = partial(_paced, rate, round(seconds / FLUSH_S))
    for backends in BACKEND_COUNTS:
        found["backends", backends] = partial(_delivered, backends, rounds)
    return found


def _named(names: int, rounds: int, daemon: Daemon) -> Row:
    streams = streams_of(names)
    history = -(-ReducerSettings().history_steps // streams[0].steps)
    return cost(daemon, streams, rounds * max(1, names // WIDE), settle=history)


def _ranked(ranks: int, rounds: int, daemon: Daemon) -> Row:
    return cost(daemon, streams_of(ranks=ranks, steps=STEPS_OF_A_BATCH), rounds)


def _paced(rate: int, rounds: int, daemon: Daemon) -> Row:
    return cost(daemon, streams_of(steps=max(1, round(rate * FLUSH_S))), rounds, every_s=FLUSH_S)


def _delivered(backends: int, rounds: int, daemon: Daemon) -> Row:
    return cost(daemon, streams_of(), rounds, backends=backends)


def length(scalars: int) -> Row:
    """A run of so many values: CPU and memory of its daemon, its journal on disk, and what reading that takes."""
    peak = 0
    with new_daemon() as daemon:
        memory = psutil.Process(daemon.process.pid).memory_info

        def look() -> None:
            nonlocal peak
            peak = max(peak, memory().rss)

        with daemon.ranks(streams_of(steps=LONG_STEPS)) as ranks:
            before = daemon.cpu_s
            ranks.rounds(scalars // ROUND, look)
            spent = daemon.cpu_s - before
            daemon.process.kill()
            daemon.process.wait()
        row: Row = {"scalars": scalars, "ns_per_scalar": spent / scalars * 1e9, "rss_peak_mb": peak / 2**20}
        return row | _read_again(ranks.run_dir, scalars)


def _read_again(run_dir: Path, scalars: int) -> Row:
    """What a daemon that starts again does with the run, and `asynclog replay`; both in this process."""
    began = time.perf_counter()
    store = RunStore(run_dir / JOURNAL, "process", ReducerSettings())
    restart = time.perf_counter() - began
    if store.state.journaled != scalars:
        raise RuntimeError(f"{scalars} values were acked, and the journal has {store.state.journaled}")
    store.close()
    size = sum(path.stat().st_size for path in run_dir.glob(f"{JOURNAL}*"))
    began = time.perf_counter()
    replayed(run_dir)
    seconds = time.perf_counter() - began
    return {"journal_bytes_per_scalar": size / scalars, "restart_s": restart, "replay_s": seconds}


def replayed(run_dir: Path) -> None:
    """The run, delivered from its journal to one more backend. Raises RuntimeError when that takes too long."""
    journal = Journal.open(run_dir / JOURNAL)
    replay = Replay(run_dir, journal, "replayed", {"class": TENSORBOARD})
    replay.start()
    end = time.monotonic() + REPLAY_S
    while not replay.done and time.monotonic() < end:
        time.sleep(0.01)
    if not replay.done or not replay.stop(60):
        raise RuntimeError(f"a replay that is not done in {REPLAY_S:.0f} s: {replay.status}")
    journal.close()


def measure(axes: Sequence[str], repeats: int, longest: int, *, quick: bool) -> list[Row]:
    """A row for each place on each axis, medians; the cases take turns."""
    rows: list[Row] = []
    todo = {f"{axis} {x}": ((axis, x), case) for (axis, x), case in cases(quick=quick).items() if axis in axes}
    if todo:
        with new_daemon() as daemon:
            for _, name in harness.interleaved(list(todo), repeats):
                (axis, x), case = todo[name]
                rows.append({"axis": axis, "x": x, **case(daemon)})
    lengths = [x for x in (10**5, 10**6, 10**7, 10**8) if x <= longest] if "length" in axes else []
    rows += [{"axis": "length", "x": x, **length(x)} for _ in range(repeats) for x in lengths]
    return sorted(harness.median_rows(rows, ("axis", "x")), key=lambda row: (list(AXES).index(row["axis"]), row["x"]))


def main() -> int:
    parser = harness.parser(__doc__ or "")
    parser.add_argument("--only", action="append", choices=list(AXES), help="this axis; may be repeated")
    parser.add_argument("--longest", type=float, help="values of the longest run (default 1e8; quick 1e6)")
    options: argparse.Namespace = parser.parse_args()
    longest = int(options.longest or (1e6 if options.quick else 1e8))
    rows = measure(options.only or list(AXES), 1 if options.quick else 5, longest, quick=options.quick)
    out = harness.console(options.json)
    out.print(printed(rows))
    out.print(f"{harness.machine_line()}; {footnote()}")
    held = harness.print_checks(out, checks_of(rows))
    harness.write_json(options.json, rows, footnote())
    if options.readme:
        harness.write_readme("growth", readme_block(rows))
    return 0 if held or not options.check else 1


if __name__ == "__main__":
    sys.exit(main())
