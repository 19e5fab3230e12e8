"""Client and daemon of versions that don't fit: both say so once, training goes on, its rows stay where the right
version finds them.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgpack
import pytest

from asynclog_proto import frames, places, ringfile, spoolfile
from tests.daemon.peers import asked, dealer
from tests.daemon.speaker import Speaker
from tests.e2e.conftest import HERE, Start
from tests.e2e.oracle import csv_series, value

Eventually = Callable[..., None]
Output = Callable[[], str]

NEWER = (sys.executable, HERE / "newer.py")
DAEMON = ("-m", "asynclogd", "daemon", "--no-host-metrics")
STEPS = 500


@pytest.fixture
def serve(start: Start, runtime_dir: Path, eventually: Eventually) -> Callable[..., None]:
    """`serve(*python)`: a daemon, run by that."""

    def daemon(*python: object) -> None:
        start(*(python or (sys.executable,)), *DAEMON)
        eventually((runtime_dir / "daemon.sock").exists, what="the daemon")

    return daemon


def refused(peer: object, version: int) -> frames.Refused:
    header = msgpack.packb([version, frames.Hello.TYPE, {"a": "field", "of": ["another", "form"]}])
    peer.send(header)  # type: ignore[attr-defined]
    answer, _ = frames.decode(peer.recv_multipart())  # type: ignore[attr-defined]
    assert isinstance(answer, frames.Refused)
    return answer


def test_a_hello_of_another_version_is_answered_with_ours(
    serve: Callable[..., None], runtime_dir: Path, output: Output
) -> None:
    serve()
    with dealer(places.endpoint(runtime_dir)) as peer:
        for version in (0, 2, 99):
            answer = refused(peer, version)
            assert answer.versions == (frames.VERSION,)
            assert f"protocol version {version}; asynclog " in answer.reason
            assert "update the older of the two" in answer.reason
        assert isinstance(asked(peer, frames.Query()), frames.Report)
    assert output().count("a client of another version was refused: protocol version 0; ") == 1


def synced(directory: Path, *python: object) -> subprocess.CompletedProcess[str]:
    command = [*map(str, python), "-m", "asynclogd", "sync", "--no-host-metrics", str(directory)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.fault("versions")
@pytest.mark.parametrize("newer", ["client", "daemon"])
def test_training_goes_on_and_its_rows_wait_for_the_right_version(
    newer: str, serve: Callable[..., None], start: Start, tmp_path: Path, output: Output
) -> None:
    ours, next_ = (sys.executable,), NEWER
    client, daemon = (next_, ours) if newer == "client" else (ours, next_)
    serve(*daemon)
    assert start(*client, HERE / "worker.py", tmp_path, "--steps", STEPS).wait(60) == 0
    said = output()
    theirs, mine = (1, 2) if newer == "client" else (2, 1)
    assert said.count("refuses this run: ") == 1
    assert f"the daemon speaks protocol version {theirs}, and this asynclog" in said
    assert f") version {mine}: update the older" in said
    assert said.count("a client of another version was refused") == 1
    wrong = synced(tmp_path, *daemon)
    assert wrong.returncode == 1
    assert "could not be taken up and stays" in wrong.stdout
    assert f"protocol version {mine}" in wrong.stderr
    right = synced(tmp_path, *client)
    assert right.returncode == 0, right.stdout + right.stderr
    assert csv_series(tmp_path / "p" / "run", "loss") == {step: [value(0, step)] for step in range(STEPS)}


@pytest.mark.fault("versions")
@pytest.mark.parametrize("left", ["ring", "spool"])
def test_what_a_dead_rank_left_in_a_newer_format_stays(
    left: str, serve: Callable[..., None], tmp_path: Path, runtime_dir: Path, eventually: Eventually, output: Output
) -> None:
    """The daemon knows the stream and finds its process dead: what it can't read it does not remove."""
    serve()
    ring, spool = runtime_dir / "rings" / "a0.ring", tmp_path / "p" / "run" / "spool" / "0-a0"
    spool.mkdir(parents=True)
    segment = spool / f"1{spoolfile.SUFFIX}"
    if left == "ring":
        ring.write_bytes(b"asynclr2" + ringfile.header(4096, b"")[8:] + bytes(4096))
    else:
        segment.write_bytes(b"asyncls2" + bytes(100))
    with Speaker(runtime_dir, tmp_path, "a0", launch="first", ring=str(ring), spool=str(spool)) as speaker:
        speaker.hello({})
        eventually(lambda: "rank 0 has ended (dead)" in output(), what="it is found dead")
    assert "of format 2; this asynclog reads format 1" in output()
    assert (ring if left == "ring" else segment).exists()
