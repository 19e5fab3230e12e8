"""What a call of `log()` costs when several threads log: CPU of the calling thread, beside that of one thread.

    python bench/threads.py [--json PATH|-] [--readme] [--check] [--quick]

Two questions, for 1, 2 and 4 threads that log rows of 10 floats, each with names of its own, at steps that go on:

  between work  a call after each 100 us of computing without the interpreter's lock, as threads of a training do
  back to back  call after call, with the lock changing hands every 1 ms, five times as often as usual

What the clock and the loop take, an empty call by one thread, is taken off each figure.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
from contender import Contender, MessagePack, Scalars
from contenders import Asynclog
from hot_path_process import POOL, busy, made_row, names_of
from own_daemon import own_daemon

LIMIT = 1.5
THREADS = (1, 2, 4)
CONTENDERS: dict[str, type[Contender]] = {"empty": Contender, "msgpack": MessagePack, "asynclog": Asynclog}
CALLS = {"between work": 800, "back to back": 20_000}
QUICK = {"between work": 200, "back to back": 4_000}
WORK_S = 100e-6
SWITCH_S = 1e-3
HEADER = ("CPU ns a call", "", *(f"{count} thread" + "s" * (count > 1) for count in THREADS))
Row = harness.Row
Log = Callable[[Scalars, int], None]


def between_work(log: Log, names: list[str], steps: Iterator[int], calls: int) -> int:
    """CPU (ns) of `calls` calls, each timed by itself."""
    clock, spent = time.thread_time_ns, 0
    for _ in range(calls):
        busy(WORK_S)
        step = next(steps)
        row = made_row(names, step)
        began = clock()
        log(row, step)
        spent += clock() - began
    return spent


def back_to_back(log: Log, names: list[str], steps: Iterator[int], calls: int) -> int:
    """CPU (ns) of a loop of `calls` calls."""
    pool = [made_row(names, step) for step in range(POOL)]
    began = time.thread_time_ns()
    for call in range(calls):
        log(pool[call % POOL], next(steps))
    return time.thread_time_ns() - began


MODES: dict[str, Callable[[Log, list[str], Iterator[int], int], int]] = {
    "between work": between_work,
    "back to back": back_to_back,
}


def cpu_ns(log: Log, mode: str, steps: Iterator[int], threads: int, calls: int) -> float:
    """CPU of a call (ns): `calls` in all, shared by threads that begin at the same time."""
    start, spent = threading.Barrier(threads), []

    def work(thread: int) -> None:
        names = [f"{thread}/{name}" for name in names_of(10)]
        start.wait()
        spent.append(MODES[mode](log, names, steps, calls // threads))

    workers = [threading.Thread(target=work, args=[thread]) for thread in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(spent) / (calls // threads * threads)


@contextmanager
def switching(mode: str) -> Iterator[None]:
    """How often the interpreter's lock changes hands in a mode."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_S if mode == "back to back" else usual)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)


def measure(repeats: int, calls: dict[str, int]) -> list[Row]:
    """A row for each mode, contender and number of threads: medians of the repeats, less the empty call's."""
    with ExitStack() as stack:
        stack.enter_context(own_daemon())
        contenders = {name: kind() for name, kind in CONTENDERS.items()}
        for contender in contenders.values():
            contender.setup(Path(stack.enter_context(tempfile.TemporaryDirectory())))
            stack.callback(contender.close)
        steps = itertools.count()
        rows = [row for mode in MODES for row in _mode(contenders, mode, steps, repeats, calls[mode])]
    rows = harness.median_rows(rows, ["mode", "contender", "threads"])
    floors = {row["mode"]: row["cpu_ns"] for row in rows if (row["contender"], row["threads"]) == ("empty", 1)}
    return [{**row, "cpu_ns": row["cpu_ns"] - floors[row["mode"]]} for row in rows]


def _mode(contenders: dict[str, Contender], mode: str, steps: Iterator[int], repeats: int, calls: int) -> Iterator[Row]:
    places = [f"{name} {threads}" for name in contenders for threads in THREADS]
    with switching(mode):
        for contender in contenders.values():
            cpu_ns(contender.log, mode, steps, max(THREADS), calls)  # the first call with a name has it spelt
        for _, place in harness.interleaved(places, repeats):
            name, threads = place.split()
            contender = contenders[name]
            spent = cpu_ns(contender.log, mode, steps, int(threads), calls)
            about = {"mode": mode, "contender": name, "label": contender.label, "threads": int(threads)}
            yield {**about, "cpu_ns": spent}
            time.sleep(0.15)  # a flush and more: the ring is free again, and nobody measures waits for room


def cells(rows: Sequence[Row]) -> list[list[str]]:
    """A line a mode and contender; in brackets how many times one thread's."""
    made: dict[tuple[str, str], list[str]] = {}
    alone = {(row["mode"], row["contender"]): row["cpu_ns"] for row in rows if row["threads"] == 1}
    for row in rows:
        if row["contender"] != "empty":
            key = (row["mode"], row["contender"])
            made.setdefault(key, [row["label"], row["mode"]]).append(harness.against(row["cpu_ns"], alone[key], 2))
    return list(made.values())


def checks(rows: Sequence[Row]) -> list[harness.Check]:
    """What is promised: a call of four threads costs at most 1.5 times one thread's."""
    found = {(row["mode"], row["threads"]): row["cpu_ns"] for row in rows if row["contender"] == "asynclog"}
    return [
        harness.Check(f"{mode}: CPU a call of four threads over one's", found[mode, 4] / found[mode, 1], LIMIT)
        for mode in MODES
    ]


def main() -> int:
    options = harness.parser(__doc__ or "").parse_args()
    out = harness.console(options.json)
    with out.status("threads that log"):
        rows = measure(*((2, QUICK) if options.quick else (11, CALLS)))
    shown = harness.Shown("threads", "log() by several threads", HEADER, cells(rows), ("asynclogd", "msgpack"))
    return harness.report(options, rows, shown, checks(rows))


if __name__ == "__main__":
    raise SystemExit(main())
