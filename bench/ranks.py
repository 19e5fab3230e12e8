"""Many ranks at one daemon: does each step close with all of them, how soon, and what does a rank cost?

    python bench/ranks.py [--json PATH|-] [--readme] [--check] [--quick]

128 to 1,024 ranks, each a connection that this process holds, log 10 numbers at the same moment, twice a second or when
the last step has closed, to a real daemon with a journal and TensorBoard files. Rank 0 asks for the mean of each step:
it comes when the step closes, and it is right only when every rank is in it. CPU is the daemon's, a rank and step.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import zmq

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import harness
from asynclog_proto import frames
from asynclog_proto.limits import MAX_REPORT_BYTES
from asynclog_proto.records import Layout, Record, Row, encode
from asynclogd import talk
from cpu import cpu_clock
from own_daemon import own_daemon

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


class Rank:
    """One connection, and what it says."""

    def __init__(self, context: zmq.Context[Any], endpoint: str, folder: Path, rank: int, world: int) -> None:
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._rank, self._seq = rank, 0
        about: dict[str, Any] = {"project": "bench", "name": "run", "dir": str(folder), "host": "bench", "pid": 1}
        about |= {"rank": rank, "world_size": world, "incarnation": f"r{rank}", "launch": "ranks", "first_seq": 0}
        self._send(frames.Hello(**about, backends={"tensorboard": {}}))

    def join(self) -> None:
        """Wait for the welcome, then name the metrics."""
        self.answer(frames.Welcome, 60.0)
        self._say(Layout(0, NAMES))

    def log(self, step: int) -> None:
        """A row whose values are the step and this rank."""
        self._say(Row(0, step, time.time(), 1.0, (float(step + self._rank),) * len(NAMES)))

    def ask(self, step: int) -> None:
        """Ask for the first metric's value."""
        self._send(frames.Ask(step, self._seq, NAMES[0], step))

    def answer(self, kind: type[Any], seconds: float) -> Any:
        """The next message of this kind; TimeoutError when none comes."""
        end = time.monotonic() + seconds
        while self._socket.poll(max(0, int(1e3 * (end - time.monotonic())))):
            message = self._receive()
            if isinstance(message, kind):
                return message
        raise TimeoutError(f"rank {self._rank}: no {kind.__name__} for {seconds} s")

    def pass_over(self) -> None:
        """Acks that have come."""
        while self._socket.getsockopt(zmq.EVENTS) & zmq.POLLIN:
            self._receive()

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> frames.Message:
        message, _ = frames.decode(self._socket.recv_multipart(), max_header=MAX_REPORT_BYTES)
        if isinstance(message, (frames.Refused, frames.Reset)):
            raise RuntimeError(f"rank {self._rank} was not taken: {message}")  # noqa: TRY004 - no wrong argument
        return message

    def _say(self, record: Record) -> None:
        self._send(frames.Batch(self._seq, 1), encode(record))
        self._seq += 1

    def _send(self, message: frames.Message, payload: bytes | None = None) -> None:
        self._socket.send_multipart(frames.encode(message, payload))


@contextmanager
def started() -> Iterator[tuple[str, int]]:
    """A daemon: its endpoint and process."""
    with own_daemon() as endpoint:
        runtime = os.environ["ASYNCLOG_RUNTIME_DIR"]
        command = [sys.executable, "-m", "asynclogd", "daemon", "--runtime-dir", runtime]
        process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        talk.ask(endpoint, timeout=30)
        yield endpoint, process.pid
    process.wait()


@contextmanager
def joined(endpoint: str, folder: Path, world: int) -> Iterator[list[Rank]]:
    """All ranks of a run."""
    with zmq.Context() as context:
        context.set(zmq.MAX_SOCKETS, world + 64)
        ranks = [Rank(context, endpoint, folder, rank, world) for rank in range(world)]
        try:
            for rank in ranks:
                rank.join()
            yield ranks
        finally:
            for rank in ranks:
                rank.close()


def closing_s(ranks: Sequence[Rank], step: int) -> tuple[float, bool]:
    """All log a step: how long after the last of them it closes, and whether with all of them."""
    for rank in ranks:
        rank.log(step)
    ranks[0].ask(step)
    began = time.perf_counter()
    value = ranks[0].answer(frames.Value, 2 * DEADLINE_S).value
    took = time.perf_counter() - began
    for rank in ranks:
        rank.pass_over()
    return took, value == step + (len(ranks) - 1) / 2


def measure(world: int, steps: int) -> harness.Row:
    """One run of so many ranks, a row."""
    with tempfile.TemporaryDirectory() as folder, started() as (endpoint, pid):
        began = time.perf_counter()
        with joined(endpoint, Path(folder), world) as ranks:
            join_s = time.perf_counter() - began
            closed, cpu_s, due = [], 0.0, time.perf_counter()
            for step in range(WARM_UP_STEPS + steps):
                if step == WARM_UP_STEPS:
                    cpu_s = cpu_clock(pid) or 0.0
                closed.append(closing_s(ranks, step))
                due += PERIOD_S
                time.sleep(max(0.0, due - time.perf_counter()))
            cpu_s = (cpu_clock(pid) or 0.0) - cpu_s
            rss_mb = psutil.Process(pid).memory_info().rss / 2**20
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
    out.print(harness.table("many ranks at one daemon", HEADER, cells(rows)))
    held = harness.print_checks(out, checks(rows))
    harness.write_json(options.json, rows)
    if options.readme:
        footnote = f"{harness.machine_line()}; {harness.versions_line(['asynclogd', 'pyzmq', 'numpy'])}."
        harness.write_readme("ranks", harness.markdown(HEADER, cells(rows), footnote))
    return 0 if held or not options.check else 1


if __name__ == "__main__":
    raise SystemExit(main())
