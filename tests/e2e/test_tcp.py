"""A daemon that listens on a network: who has a key that is allowed logs to it, and nobody else says a word."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zmq
from zmq.utils import z85

import asynclog
from asynclog_proto import frames, places, records, spoolfile
from asynclog_proto.media import Section
from asynclogd import keys
from tests.daemon.peers import asked, dealer
from tests.e2e.conftest import Start
from tests.e2e.daemons import sync

Eventually = Callable[..., None]

RANK = """
import sys, asynclog, numpy
with asynclog.init(project="p", name="r", dir=sys.argv[1], rank=int(sys.argv[2]), world_size=2) as run:
    for step in range(200):
        run.log({"loss": float(step)}, step)
    run.log_text("note", "a small body travels in its record")
    run.log_image("large", numpy.zeros((64, 64, 3), numpy.uint8))
"""


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ASYNCLOG_KEYS", str(tmp_path / "keys"))
    return tmp_path / "keys"


@pytest.fixture
def endpoint(start: Start, home: Path, tmp_path: Path, eventually: Eventually) -> str:
    """The TCP endpoint of a daemon."""
    keys.make(home)
    start(sys.executable, "-m", "asynclogd", "daemon", "--bind", "tcp://127.0.0.1:0", "--no-host-metrics")
    log = tmp_path / "process-0.log"
    eventually(lambda: "serving" in log.read_text(), what="the daemon")
    return next(word.rstrip(",") for word in log.read_text().split() if word.startswith("tcp://"))


def pair() -> tuple[bytes, bytes]:
    public, secret = (z85.decode(key) for key in zmq.curve_keypair())
    return public, secret


def ours(home: Path) -> tuple[bytes, bytes, bytes]:
    mine = keys.client_pair(home)
    return keys.server_key(home), mine.public, mine.secret


def of_daemon(status: Callable[[], list[dict[str, Any]]]) -> dict[str, Any]:
    (report,) = status()
    daemon: dict[str, Any] = report["daemon"]
    return daemon


def test_ranks_of_two_machines_make_one_run(
    start: Start, endpoint: str, tmp_path: Path, output: Callable[[], str]
) -> None:
    """The other machine is a runtime directory of its own: nothing but the network and the keys is shared."""
    (tmp_path / "there").mkdir(mode=0o700)
    afar = {"ASYNCLOG_ENDPOINT": endpoint, "ASYNCLOG_RUNTIME_DIR": str(tmp_path / "there")}
    ranks = [start(sys.executable, "-c", RANK, tmp_path, "0"), start(sys.executable, "-c", RANK, tmp_path, "1", **afar)]
    assert [rank.wait(60) for rank in ranks] == [0, 0], output()
    rows = (tmp_path / "p" / "r" / "csv" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 201
    assert rows[-1] == "199.0,199"
    assert "over TCP media larger than 4096 bytes do not travel" in output()
    assert not list((tmp_path / "there" / "rings").iterdir())


def test_media_that_are_too_large_are_counted_and_told_of_once_with_what_to_do(endpoint: str, tmp_path: Path) -> None:
    """And that does work: a run that is offline, in a directory that the daemon's machine has too."""
    large = np.zeros((64, 64, 3), np.uint8)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        run = asynclog.init("p", "r", dir=str(tmp_path), endpoint=endpoint, backends=["jsonl"])
        for step in range(3):
            run.log_image("large", large, step)
        run.log_text("note", "small", 3)
        ledger = run.finish()
    assert ledger.complete
    assert (ledger.dropped, ledger.journaled, ledger.issued) == ({"media_full": 3}, 1, 4)
    (text,) = [str(each.message) for each in told if "do not travel" in str(each.message)]
    assert "a run of mode='offline' in a directory that both machines see: `asynclog sync` delivers it" in text
    with asynclog.init("p", "media", dir=str(tmp_path), endpoint=endpoint, mode="offline", backends=["jsonl"]) as run:
        run.log_image("large", large, 0)
    sync(tmp_path / "p" / "media")
    points = (tmp_path / "p" / "media" / "jsonl" / "points.jsonl").read_text().splitlines()
    assert [point["name"] for point in map(json.loads, points) if point.get("type") == "media"] == ["large"]


def test_a_file_by_its_path_is_told_of_when_it_is_logged_and_its_copy_travels(endpoint: str, tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"w" * 4096)
    (tmp_path / "empty").touch()
    run = asynclog.init("p", "r", dir=str(tmp_path), endpoint=endpoint, backends=["jsonl"])
    with pytest.warns(asynclog.AsynclogWarning, match=r"do not travel by their path.*copy=True, up to 4096 bytes"):
        run.log_file("by path", tmp_path / "weights", 0)
    with pytest.warns(asynclog.AsynclogWarning, match="larger than 4096 bytes do not travel"):
        run.log_image("large", np.zeros((64, 64, 3), np.uint8), 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.log_file("by path", tmp_path / "empty", 1)  # told once
        run.log_file("copied", tmp_path / "weights", 2, copy=True)
        run.log_file("nothing", tmp_path / "empty", 3, copy=True)
        ledger = run.finish()
    assert ledger.complete
    assert (ledger.dropped, ledger.journaled) == ({"media_full": 3}, 2)
    lines = map(json.loads, (tmp_path / "p" / "r" / "jsonl" / "points.jsonl").read_text().splitlines())
    assert [(line["name"], line["size"]) for line in lines if line.get("type") == "media"] == [
        ("copied", 4096),
        ("nothing", 0),
    ]


@pytest.mark.sdk
def test_who_has_a_key_reads_no_file_of_the_daemons_user(
    endpoint: str, home: Path, tmp_path: Path, output: Callable[[], str]
) -> None:
    """Both backends copy a file that is told by its path, a whole directory too."""
    secret = tmp_path / "ssh" / "id_ed25519"
    secret.parent.mkdir()
    secret.write_bytes(b"a key that is nobody's business")
    said: list[records.Record] = [
        records.Media("key", 0, 1.0, "file", (), {"path": str(secret), "artifact": "a"}, b""),
        records.Media("all", 0, 1.0, "file", (), {"path": str(secret.parent)}, b""),
        records.Media("empty", 0, 1.0, "file", (Section("file", "bytes", (0,)),), {"path": str(secret)}, b""),
        records.End("success"),
    ]
    backends: dict[str, Any] = {"swanlab": {}, "trackio": {}}
    hello = frames.Hello("p", "r", str(tmp_path), 0, 1, "a", "l", 0, 1, "afar", backends=backends)
    with dealer(endpoint, ours(home)) as peer:
        assert isinstance(asked(peer, hello), frames.Welcome)
        peer.send_multipart(frames.encode(frames.Batch(0, len(said)), b"".join(map(records.encode, said))))
        peer.send_multipart(frames.encode(frames.Finish(3, {})))
        ledger = until(peer, frames.Ledger).ledger
    kept = [path for root in (str(tmp_path), os.environ["TRACKIO_DIR"]) for path in Path(root).rglob("*")]
    copies = [path for path in kept if path.is_file() and secret.read_bytes() in path.read_bytes()]
    assert copies == [secret]
    assert ledger["dropped"] == {"media_refused": 2}
    assert [ledger["backends"][name]["delivered"] for name in backends] == [1, 1]
    assert "told by its path, from another machine" in output()


def test_a_run_is_resumed_that_only_the_daemons_machine_knows_and_one_that_it_does_not_know_is_told(
    endpoint: str, tmp_path: Path
) -> None:
    """This machine's disk is not asked: a run that is nowhere is begun, and only the daemon can tell."""
    with pytest.warns(asynclog.AsynclogWarning, match=r"resume='r': the daemon at tcp://.* has no step of such a run"):
        run = asynclog.init("p", resume="r", dir=str(tmp_path), endpoint=endpoint)
    run.log({"loss": 1.0}, step=7)
    run.finish()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with asynclog.init("p", resume="r", dir=str(tmp_path), endpoint=endpoint) as run:
            run.log({"loss": 2.0})
    rows = (tmp_path / "p" / "r" / "csv" / "metrics.csv").read_text().splitlines()
    assert rows[1:] == ["1.0,7", "2.0,8"]


@pytest.mark.fault("stranger")
@pytest.mark.parametrize("key", ["none", "random"])
def test_no_byte_of_a_stranger_reaches_a_decoder(
    key: str, endpoint: str, home: Path, status: Callable[[], list[dict[str, Any]]], eventually: Eventually
) -> None:
    stranger = (keys.server_key(home), *pair()) if key == "random" else None
    refused = "connections_refused" if key == "random" else "connections_failed"
    with dealer(endpoint, stranger) as peer:
        peer.send_multipart([b"\xc1 nothing that a decoder would take"])
        peer.send_multipart(frames.encode(frames.Query("stop")))
        eventually(lambda: of_daemon(status)[refused] >= 1, what="the refusal")
        assert not peer.poll(200)
    daemon = of_daemon(status)
    assert daemon["malformed"] == 0
    with dealer(endpoint, ours(home)) as peer:
        assert isinstance(asked(peer, frames.Query()), frames.Report)
    # Since then: the status that we had, and the two of now.
    assert of_daemon(status)["messages"] == daemon["messages"] + 2


def test_a_key_is_let_in_when_it_is_allowed_and_out_when_it_is_revoked_without_a_restart(
    endpoint: str, home: Path, status: Callable[[], list[dict[str, Any]]], eventually: Eventually
) -> None:
    public, secret = pair()
    with dealer(endpoint, (keys.server_key(home), public, secret)) as peer:
        assert asked(peer, frames.Query(), 0.3) is None
        command(["allow", "node1", public.hex()])
        assert isinstance(asked(peer, frames.Query()), frames.Report)
        assert public.hex() in command(["list"])
        command(["revoke", "node1"])
        before = of_daemon(status)["connections_cut"]
        eventually(lambda: asked(peer, frames.Query(), 0.1) is None, what="the end of its connection")
        eventually(lambda: of_daemon(status)["connections_cut"] > before, what="the count of it")
    assert public.hex() not in command(["list"])


def test_who_has_a_key_may_log_and_not_command(endpoint: str, home: Path, tmp_path: Path) -> None:
    with dealer(endpoint, ours(home)) as peer:
        refused = [
            asked(peer, frames.Query("stop")),
            asked(peer, frames.AddBackend("p", "r", str(tmp_path), "csv", {})),
            asked(peer, frames.Hello("p", "r", "/etc", 0, 1, "a", "l", 0, 1, "afar")),
            asked(
                peer, frames.Hello("p", "r", str(tmp_path), 0, 1, "a", "l", 0, 1, "", backends={"x": {"class": "y"}})
            ),
        ]
        assert [type(answer) for answer in refused] == [frames.Refused] * 4
        assert isinstance(asked(peer, frames.Query()), frames.Report)


def test_a_client_that_trusts_another_daemon_s_key_tells_it_nothing(endpoint: str, home: Path) -> None:
    other, _ = pair()
    with dealer(endpoint, (other, *ours(home)[1:])) as peer:
        assert asked(peer, frames.Query(), 1.0) is None


@pytest.mark.parametrize(("made", "why"), [(False, "keys new"), (True, "keys allow")])
def test_a_network_is_refused_without_keys_and_without_anybody_allowed(
    made: bool, why: str, home: Path, runtime_dir: Path
) -> None:
    if made:
        keys.make(home)
        keys.revoke(home, "self")
    done = subprocess.run(
        [sys.executable, "-m", "asynclogd", "daemon", "--bind", "tcp://127.0.0.1:0"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 2
    assert why in done.stderr
    assert not (runtime_dir / "daemon.sock").exists()


def test_init_without_keys_says_how_to_make_them(home: Path, tmp_path: Path) -> None:
    script = "import asynclog; asynclog.init(project='p', name='r', dir='x', endpoint='tcp://127.0.0.1:9')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, cwd=tmp_path)
    assert "asynclog keys new" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_status_asks_over_tcp_too(endpoint: str, home: Path, tmp_path: Path) -> None:
    environ = {**os.environ, "ASYNCLOG_ENDPOINT": endpoint}
    done = subprocess.run(
        [sys.executable, "-m", "asynclogd", "status"], capture_output=True, text=True, check=True, env=environ
    )
    assert places.endpoint(Path(os.environ["ASYNCLOG_RUNTIME_DIR"])) in done.stdout


def test_the_spool_of_a_rank_elsewhere_is_left_to_it_until_somebody_says_that_it_is_dead(
    start: Start, home: Path, tmp_path: Path, runtime_dir: Path, eventually: Eventually
) -> None:
    """It may live, and go on spooling into files that would be gone."""
    start(sys.executable, "-c", RANK, tmp_path, "0", ASYNCLOG_MODE="offline").wait(60)
    (segment,) = tmp_path.glob("p/r/spool/*/*.spool")
    elsewhere = "x" * len(os.uname().nodename)
    told = spoolfile.read_hello(memoryview(segment.read_bytes()))
    moved = told.replace(os.uname().nodename.encode(), elsewhere.encode())
    rest = segment.read_bytes()[len(spoolfile.start(told)) :]
    segment.write_bytes(spoolfile.start(moved) + rest)
    (runtime_dir / "runs").mkdir(mode=0o700, exist_ok=True)
    (runtime_dir / "runs" / "left").write_text(f"{tmp_path / 'p' / 'r'}\n")
    keys.make(home)
    daemon = start(sys.executable, "-m", "asynclogd", "daemon", "--bind", "tcp://127.0.0.1:0", "--no-host-metrics")
    eventually(lambda: f"is of a rank on {elsewhere}" in (tmp_path / "process-1.log").read_text(), what="the notice")
    assert segment.exists()
    daemon.terminate()
    daemon.wait(60)
    synced = [sys.executable, "-m", "asynclogd", "sync", str(tmp_path)]
    assert subprocess.run(synced, capture_output=True, text=True, check=False).returncode == 0
    assert not segment.exists()
    assert (tmp_path / "p" / "r" / "csv" / "metrics.csv").read_text().splitlines()[-1] == "199.0,199"


def until(peer: zmq.Socket[bytes], kind: type[frames.Ledger], seconds: float = 60.0) -> frames.Ledger:
    """The next message of a kind; acks and the like before it are passed over."""
    end = time.monotonic() + seconds
    while peer.poll(max(0, int((end - time.monotonic()) * 1000))):
        if isinstance(answer := frames.decode(peer.recv_multipart())[0], kind):
            return answer
    raise AssertionError(f"no {kind.__name__} in {seconds:.0f} s")


def command(arguments: list[str]) -> str:
    """`asynclog keys`, and what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", "asynclogd", "keys", *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout
