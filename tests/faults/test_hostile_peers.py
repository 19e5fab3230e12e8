"""What a process of this user can do to the daemon's socket, by mistake or not: it is refused, counted and bounded, and
the daemon serves the others.
"""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq

from asynclog_proto import frames, places
from tests.daemon.peers import GREETING, READY, asked, dealer, frame, raw, shaken, until_cut
from tests.e2e.conftest import Start
from tests.e2e.daemons import peak_mb
from tests.faults.probe import expect_to_get_through

Eventually = Callable[..., None]
Status = Callable[[], list[dict[str, Any]]]

MIB = 1 << 20
MOST_MB = 2000.0
"""What docs/security.md says that messages without end may take, whatever else the machine does."""
RECONNECTS = 10_000


@pytest.fixture
def begin(
    start: Start, runtime_dir: Path, tmp_path: Path, eventually: Eventually
) -> Iterator[Callable[..., psutil.Process]]:
    """`begin(descriptors=None)`: a daemon, with at most so many file descriptors; after the test a rank can log."""

    def daemon(descriptors: int | None = None) -> psutil.Process:
        command = [sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics"]
        if descriptors is not None:
            command = ["sh", "-c", f'ulimit -n {descriptors} && exec "$@"', "sh", *command]
        process = psutil.Process(start(*command).pid)
        eventually((runtime_dir / "daemon.sock").exists, what="the daemon")
        return process

    yield daemon
    expect_to_get_through(runtime_dir, tmp_path)


def serves(runtime: Path) -> dict[str, Any]:
    """The daemon's own part of a report, which it gives."""
    with dealer(places.endpoint(runtime)) as peer:
        answer = asked(peer, frames.Query(), 60)
    assert isinstance(answer, frames.Report)
    daemon: dict[str, Any] = answer.report["daemon"]
    return daemon


@pytest.mark.fault("frames-hostile")
@pytest.mark.parametrize(
    "noise",
    [
        b"GET / HTTP/1.1\r\n\r\n" * 100,
        b"\0" * 4096,
        b"\xff" * 4096,
        GREETING[:40],
        GREETING[:12] + b"PLAIN".ljust(20, b"\0") + GREETING[32:],
        GREETING + b"\x04\xff" + b"x" * 300,
        GREETING + b"\x06" + b"\xff" * 8,
        GREETING + bytes([4, len(READY)]) + READY.replace(b"DEALER", b"DEELER"),
    ],
)
def test_what_is_no_zmtp_is_turned_away(
    begin: Callable[..., psutil.Process], runtime_dir: Path, noise: bytes, eventually: Callable[..., None]
) -> None:
    begin()
    with raw(runtime_dir) as connection, contextlib.suppress(BrokenPipeError, ConnectionResetError):
        connection.sendall(noise)
        with contextlib.suppress(OSError):  # where it has ended the connection by now
            connection.shutdown(socket.SHUT_WR)
        while connection.recv(4096):
            pass
    told: list[dict[str, Any]] = []

    def knows_us_alone() -> bool:
        told.append(serves(runtime_dir))
        return bool(
            told[-1]["connections"] == 1
        )  # libzmq tells the daemon of connections a little later than it answers

    eventually(knows_us_alone, 30, "one connection, which asks")
    assert (told[-1]["messages"], told[-1]["malformed"]) == (len(told), 0)


@pytest.mark.fault("frames-hostile")
@pytest.mark.parametrize(
    "parts",
    [
        [b""],
        [b"\xc1"],
        [b"\x91" * 60_000],
        [b"\xdd\xff\xff\xff\xff"],
        [b"\xdf\xff\xff\xff\xff"],
        [b"\xc6\xff\xff\xff\xff"],
        [b"\x93\x01\x01" + b"\x81\xa1a" * 20_000],
        [b"x" * 70_000],
        [*frames.encode(frames.Batch(0, 1)), b"x", b"y"],
        [b"x"] * 1000,
        [b"\xc7\xff\x01" + b"x" * 255],
    ],
)
def test_what_is_no_message_is_refused_and_counted(
    begin: Callable[..., psutil.Process], runtime_dir: Path, parts: list[bytes], output: Callable[[], str]
) -> None:
    daemon = begin()
    with dealer(places.endpoint(runtime_dir)) as peer:
        for count in range(1, 21):
            peer.send_multipart(parts)
            assert isinstance(frames.decode(peer.recv_multipart())[0], frames.Refused), count
        assert isinstance(asked(peer, frames.Query()), frames.Report)
    assert serves(runtime_dir)["malformed"] == 20
    assert output().count("a malformed message was refused") == 1, "the others are counted"
    assert daemon.memory_info().rss < 200 * MIB


@pytest.mark.fault("frames-hostile")
def test_a_frame_that_is_too_large_ends_its_connection(begin: Callable[..., psutil.Process], runtime_dir: Path) -> None:
    daemon = begin()
    with shaken(runtime_dir) as connection:
        connection.sendall(b"\x02" + (1 << 40).to_bytes(8, "big") + b"x" * 1000)
        assert connection.recv(1) == b""
    assert serves(runtime_dir)["messages"] == 1
    assert daemon.memory_info().rss < 200 * MIB


@pytest.mark.cap("endless")
@pytest.mark.fault("frames-hostile")
@pytest.mark.parametrize("size", [MIB, 40_000, 100])
def test_a_message_without_end_is_cut_off_however_often_it_is_begun(
    begin: Callable[..., psutil.Process], runtime_dir: Path, size: int, eventually: Eventually
) -> None:
    """And what was freed goes back: libc would keep it, for a peer that then takes as much again unseen."""
    daemon = begin()
    for _ in range(3):
        with shaken(runtime_dir) as connection:
            assert until_cut(connection, frame(b"x" * size, more=True) * (MIB // size)) < 8 << 30
    assert peak_mb(daemon.pid) < MOST_MB
    eventually(lambda: daemon.memory_info().rss < 200 * MIB, what="memory is given back")
    assert serves(runtime_dir)["connections_cut"] >= 3


@pytest.mark.fault("frames-hostile")
def test_ranks_go_on_while_somebody_else_is_cut_off(
    begin: Callable[..., psutil.Process], runtime_dir: Path, worker: Start, tmp_path: Path
) -> None:
    begin()
    rank = worker("--steps", 2000, "--period", 0.001)
    with shaken(runtime_dir) as connection:
        assert until_cut(connection, frame(b"x" * MIB, more=True))
    assert rank.wait(60) == 0
    rows = next(tmp_path.glob("*/run/csv/metrics.csv")).read_text().splitlines()
    assert len(rows) == 2001


@pytest.mark.fault("reconnects")
def test_reconnects_leave_nothing_behind(
    begin: Callable[..., psutil.Process], runtime_dir: Path, eventually: Eventually
) -> None:
    daemon = begin()
    serves(runtime_dir)
    before = daemon.num_fds(), daemon.memory_info().rss
    with zmq.Context() as context:
        for _ in range(RECONNECTS):
            with context.socket(zmq.DEALER) as peer:
                peer.setsockopt(zmq.LINGER, 0)
                peer.connect(places.endpoint(runtime_dir))
                assert isinstance(asked(peer, frames.Query()), frames.Report)
    told: list[int] = []

    def knows_us_all() -> bool:
        told.append(serves(runtime_dir)["connections_accepted"])
        return told[-1] == RECONNECTS + 1 + len(told)

    eventually(knows_us_all, 30, "each connection")  # libzmq tells of them a little later than it answers
    eventually(lambda: daemon.num_fds() <= before[0] + 5, 30, "an end of their descriptors")
    assert daemon.memory_info().rss < before[1] + 50 * MIB


FLOOD = """
import resource, socket, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
connections = []
while len(connections) < 6000:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(30)
    try:
        connection.connect(sys.argv[1])
    except BlockingIOError:
        connection.close()
    else:
        connections.append(connection)
print("flooded", flush=True)
sys.stdin.read()
"""


@pytest.mark.fault("descriptors-out")
def test_more_connections_than_file_descriptors_do_not_end_the_daemon(
    begin: Callable[..., psutil.Process], runtime_dir: Path, output: Callable[[], str]
) -> None:
    """Libzmq aborts when an accept fails for want of a file descriptor."""
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[1] > 6100, "this test opens 6,000 connections"
    daemon = begin(descriptors=4096)
    flood = subprocess.Popen(
        [sys.executable, "-c", FLOOD, str(runtime_dir / "daemon.sock")],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert flood.stdout is not None
    assert flood.stdout.readline() == "flooded\n"
    flood.communicate("")
    report = serves(runtime_dir)
    assert daemon.is_running()
    assert report["connections_sent_away"] > 1000
    assert "others are sent away" in output()
    assert "all that this daemon may have" not in output()
