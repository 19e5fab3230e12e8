"""A process of another user that reaches the daemon's socket, because somebody has opened the directory and the socket
to all: the kernel tells whose it is, and nothing that it says is read.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asynclog_proto import frames, places
from tests.daemon.peers import asked, dealer
from tests.e2e.conftest import Start

Eventually = Callable[..., None]

NOBODY = 65534

KNOCKS = """
import os, sys, zmq
from asynclog_proto import frames
endpoint, run_dir, uid = sys.argv[1], sys.argv[2], int(sys.argv[3])
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
with zmq.Context() as context, context.socket(zmq.DEALER) as peer:
    peer.setsockopt(zmq.LINGER, 0)
    peer.connect(endpoint)
    peer.send_multipart([b"\\xc1 nothing that a decoder would take"])
    peer.send_multipart(frames.encode(frames.Hello("p", "run", run_dir, 0, 1, "a", "l", 0, 1, "")))
    peer.send_multipart(frames.encode(frames.Query("stop")))
    print("said", os.getuid(), flush=True)
    sys.stdin.readline()
    while peer.poll(200):
        print(type(frames.decode(peer.recv_multipart(), max_header=1 << 26)[0]).__name__)
"""
"""Says three things, one of which would end the daemon, and waits to be told to look for answers."""


@pytest.fixture
def opened(start: Start, runtime_dir: Path) -> Path:
    """The runtime directory of a daemon, which has been opened to all users since it began."""
    if os.getuid() != 0:
        pytest.skip("to become another user takes root")
    start(sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics")
    of_daemon(runtime_dir)  # before that it may yet close what is opened
    runtime_dir.chmod(0o755)
    (runtime_dir / "daemon.sock").chmod(0o666)
    return runtime_dir


def knock(runtime: Path, run_dir: Path, uid: int) -> subprocess.Popen[str]:
    """A process of that user, which has said what it has to say."""
    process = subprocess.Popen(
        [sys.executable, "-c", KNOCKS, places.endpoint(runtime), str(run_dir), str(uid)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == f"said {uid}\n"
    return process


def answers(process: subprocess.Popen[str]) -> list[str]:
    """What it was answered by now."""
    told, _ = process.communicate("look\n", timeout=60)
    assert process.returncode == 0
    return told.split()


def of_daemon(runtime: Path) -> dict[str, Any]:
    """The daemon's own part of a report, which it gives."""
    with dealer(places.endpoint(runtime)) as peer:
        answer = asked(peer, frames.Query())
    assert isinstance(answer, frames.Report)
    daemon: dict[str, Any] = answer.report["daemon"]
    return daemon


@pytest.mark.fault("other-user")
def test_no_byte_of_another_user_reaches_a_decoder(opened: Path, tmp_path: Path, eventually: Eventually) -> None:
    before = of_daemon(opened)
    tmp_path.chmod(0o777)
    stranger = knock(opened, tmp_path / "p" / "run", NOBODY)
    asks = [before]

    def refused() -> bool:
        asks.append(of_daemon(opened))
        return bool(asks[-1]["connections_refused"] >= 1)

    eventually(refused, what="the refusal")
    assert answers(stranger) == []
    after = of_daemon(opened)
    assert (after["malformed"], after["runs"], after["pid"]) == (0, 0, before["pid"])
    assert after["messages"] == before["messages"] + len(asks), "we have asked, and nobody else has said anything"
    assert not (tmp_path / "p").exists()


@pytest.mark.fault("other-user")
def test_the_same_words_of_this_user_are_heard(opened: Path, tmp_path: Path) -> None:
    """So it is the user that makes the difference, and not that nobody listens to what is said above."""
    peer = knock(opened, tmp_path / "p" / "run", os.getuid())
    assert answers(peer)[0] == "Refused"
