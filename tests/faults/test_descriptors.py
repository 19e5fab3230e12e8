"""A running daemon has no file descriptor left: whatever it would open can't be opened, until there are some again."""

from __future__ import annotations

import os
import re
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
from pyarrow import parquet

from asynclog_proto import frames, places
from tests.daemon.peers import asked, dealer, frame, shaken, until_cut
from tests.e2e.conftest import Puppet, Start
from tests.e2e.daemons import daemon_pid
from tests.e2e.oracle import csv_series, media_texts, tensorboard_series

pytestmark = [pytest.mark.fault("descriptors-out"), pytest.mark.timeout(180)]

Eventually = Callable[..., None]

OUT = "Too many open files"
MIB = 1 << 20
STEPS = 200
LOGGED = 1 + 2 * (STEPS - 1)
BACKENDS = ("csv", "jsonl", "parquet", "tensorboard")


@contextmanager
def none_left(pid: int) -> Iterator[None]:
    """The process keeps what it has open, and opens nothing more."""
    taken = {int(path.name) for path in Path(f"/proc/{pid}/fd").iterdir()}
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    lowest = min(set(range(len(taken) + 1)) - taken)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


@pytest.fixture
def known(start: Start, runtime_dir: Path, eventually: Eventually) -> Iterator[zmq.Socket[bytes]]:
    """A connection to a daemon, which it has taken before anything happens: another one could not be taken."""
    backends = [option for name in BACKENDS for option in ("--backend", name)]
    start(sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics", *backends)
    with dealer(places.endpoint(runtime_dir)) as peer:
        assert isinstance(asked(peer, frames.Query()), frames.Report)
        yield peer


def told(peer: zmq.Socket[bytes]) -> dict[str, Any]:
    """The daemon's report, which it gives; who has said hello may have acks before it. A question is lost with its
    connection, which the daemon may end: then it is asked again.
    """
    for _ in range(6):
        answer = asked(peer, frames.Query(), 10)
        while answer is not None and not isinstance(answer, frames.Report):
            answer = frames.decode(peer.recv_multipart(), max_header=1 << 26)[0] if peer.poll(10_000) else None
        if answer is not None:
            return dict(answer.report)
    raise AssertionError("no report")


def only_run(report: dict[str, Any]) -> dict[str, Any]:
    (run,) = report["runs"]
    return dict(run)


def test_what_could_not_be_opened_is_opened_once_there_are_descriptors_again(
    known: zmq.Socket[bytes],
    puppets: Callable[..., list[Puppet]],
    tmp_path: Path,
    runtime_dir: Path,
    output: Callable[[], str],
    eventually: Eventually,
) -> None:
    """CSV rewrites its file for a new column, parquet begins one with each flush, media want processes and a file. The
    journal and the other backends go on in the files that they have.
    """
    (rank,) = puppets(1)
    pid, run_dir = daemon_pid(runtime_dir), tmp_path / "p" / "run"
    rank("log", {"first": 0.0}, step=0)
    assert rank("flush")
    with none_left(pid):
        for step in range(1, STEPS):
            rank("log", {"second": float(step)}, step=step)
            rank("log_text", "note", f"text {step}", step=step)
        eventually(lambda: only_run(told(known))["ledger"]["journaled"] == LOGGED, 60, "all is journaled")
        for backend in ("csv", "parquet"):
            eventually(lambda name=backend: OUT in only_run(told(known))["backends"][name]["error"], 60, backend)
        eventually(lambda: OUT in only_run(told(known))["media"]["error"], 60, "media")
        run = only_run(told(known))
        assert (run["journal_error"], run["backends"]["jsonl"]["error"]) == ("", "")
        said = [f"WARNING csv: OSError: .*{OUT}", f"WARNING parquet: OSError: .*{OUT}", f"its media wait: .*{OUT}"]
        for text in (*said, "file descriptors are short: others are sent away"):
            eventually(lambda text=text: re.search(text, output()), 60, text)
    rank("finish", timeout=60)
    assert psutil.pid_exists(pid)
    assert daemon_pid(runtime_dir) == pid

    second = {step: [float(step)] for step in range(1, STEPS)}
    for read in (csv_series, tensorboard_series):
        assert read(run_dir, "first") == {0: [0.0]}
        assert read(run_dir, "second") == second
    points = parquet.read_table(run_dir / "parquet" / "points").to_pylist()
    assert sorted(row["step"] for row in points if row["name"] == "second") == sorted(second)
    assert media_texts(run_dir) == [(step, f"text {step}") for step in range(1, STEPS)]
    eventually(lambda: told(known)["closed_runs"], what="the run is closed")
    ((_, closed),) = told(known)["closed_runs"].items()
    ledger = closed["ledger"]
    assert (ledger["issued"], ledger["journaled"], ledger["dropped"], ledger["in_transit"]) == (LOGGED, LOGGED, {}, 0)
    for name in BACKENDS:
        share = ledger["backends"][name]
        assert (share["delivered"], share["dead"], share["pending"]) == (LOGGED, 0, 0), name


def test_a_run_whose_journal_can_t_be_opened_is_taken_once_it_can(
    known: zmq.Socket[bytes], tmp_path: Path, runtime_dir: Path, output: Callable[[], str]
) -> None:
    hello = frames.Hello("p", "run", str(tmp_path), 0, 1, "a", "l", 0, os.getpid(), "")
    with none_left(daemon_pid(runtime_dir)):
        answer = asked(known, hello)
        assert isinstance(answer, frames.Reset), answer
        assert f"the daemon can't take this run now, and is asked again: [Errno 24] {OUT}" in answer.notice
        assert list(told(known)["untaken_runs"].values()) == [answer.reason]
        assert "run p/run, rank 0 has to wait" in output()
    assert isinstance(asked(known, hello), frames.Welcome)
    assert told(known)["untaken_runs"] == {}


def test_the_daemon_still_watches_who_takes_its_memory_when_there_are_descriptors_again(
    known: zmq.Socket[bytes], runtime_dir: Path, output: Callable[[], str], eventually: Eventually
) -> None:
    """It looks at its memory and descriptors some times a second, and the looks in between could fail."""
    with none_left(daemon_pid(runtime_dir)):
        eventually(lambda: "file descriptors are short" in output(), what="a look that finds none")

    def is_cut() -> bool:
        with suppress(AssertionError, OSError), shaken(runtime_dir) as connection:  # until a look has found room again
            until_cut(connection, frame(b"x" * MIB, more=True) * 10)
        return bool(told(known)["daemon"]["connections_cut"] >= 1)

    eventually(is_cut, 60, "a message without end is cut off")


def test_a_daemon_that_nobody_needs_ends_all_the_same(start: Start, runtime_dir: Path, eventually: Eventually) -> None:
    """Whether it is needed could not be told for a while: dead ranks may have left something."""
    idle = {"ASYNCLOG_DAEMON_IDLE_TIMEOUT": "1", "ASYNCLOG_DAEMON_LINGER_TIMEOUT": "60"}
    daemon = start(sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics", "--auto", **idle)
    with dealer(places.endpoint(runtime_dir)) as peer:
        assert isinstance(asked(peer, frames.Query(), 30), frames.Report)
        with none_left(daemon.pid):
            eventually(lambda: float(told(peer)["daemon"]["uptime_s"]) > 1.5, what="it would have ended")
        assert daemon.wait(30) == 0
