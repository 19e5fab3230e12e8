"""A disk that fails for a while under files beside the journal: those of the file backends, and the media store's."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Start
from tests.e2e.daemons import daemon_pid
from tests.e2e.mediarank import MediaRank
from tests.e2e.oracle import media_texts, value
from tests.faults.conftest import Whole
from tests.faults.endless import Endless
from tests.faults.preloaded import BreakingDisk

pytestmark = pytest.mark.timeout(180)

Eventually = Callable[..., None]
Status = Callable[[], Any]

WRITES = "write,sync,make"
ALL = "read,write,sync,make"

OFTEN = """
[backends.tensorboard]
fsync = {fsync}
delivery = {{ first_retry = 0.01, longest_retry = 0.02 }}

[backends.csv]
fsync = {fsync}
delivery = {{ first_retry = 0.01, longest_retry = 0.02 }}
"""
"""Backends that are tried again so often that whatever a failure leaves behind adds up."""


def words(error: int) -> str:
    return os.strerror(error)


def shown() -> str:
    """What `asynclog status` prints."""
    command = [sys.executable, "-m", "asynclogd", "status"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return " ".join(answer.stdout.split())


def only_run(status: Status) -> dict[str, Any]:
    """The one run that the one daemon has open; empty when it has none."""
    runs = [run for daemon in status() for run in daemon.get("runs", ())]
    return runs[0] if runs else {}


def descriptors(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def files(run: Path, backend: str) -> set[str]:
    """Names of the files that a backend has made."""
    return {path.name for path in (run / backend).iterdir()}


class Training(Endless):
    """A rank that logs on, and its daemon, under whose `backend` the disk may break."""

    def __init__(
        self, start: Start, out: Path, runtime: Path, status: Status, environment: dict[str, str], *, fsync: bool
    ) -> None:
        super().__init__(start, out, runtime, environment)
        self._status = status
        self._config = out / "asynclog.toml"
        self._config.write_text(OFTEN.format(fsync=str(fsync).lower()))

    def daemon(self) -> None:
        self.start_daemon("--config", self._config)

    def backend(self, name: str) -> dict[str, Any]:
        """As the status has it, its share of the ledger beside it."""
        run = only_run(self._status)
        if name not in run.get("backends", ()):
            return {"failures": 0, "delivered": 0, "state": "", "error": "", "pending": 0}
        return {**run["backends"][name], **run["ledger"]["backends"].get(name, {})}


@pytest.mark.fault("files-broken")
@pytest.mark.parametrize("backend", ["csv", "tensorboard"])
@pytest.mark.parametrize(
    ("when", "calls", "error", "fsync"),
    [
        ("before", "write", errno.EIO, False),
        ("later", "read,write", errno.EIO, False),
        ("later", "sync", errno.EIO, True),
        ("later", WRITES, errno.ENOSPC, True),
        ("killed", ALL, errno.EIO, False),
    ],
)
def test_a_backend_whose_files_could_not_be_written_has_everything_once_they_can(
    backend: str,
    when: str,
    calls: str,
    error: int,
    fsync: bool,
    disk: BreakingDisk,
    start: Start,
    tmp_path: Path,
    runtime_dir: Path,
    status: Status,
    output: Callable[[], str],
    eventually: Eventually,
    whole: Whole,
) -> None:
    """Before the run began, or in the middle of it, or when its daemon was killed; the other backend goes on."""
    other = {"csv": "tensorboard", "tensorboard": "csv"}[backend]
    broken = disk.environment(f"*/p/run/{backend}/*", calls, error)
    training = Training(start, tmp_path, runtime_dir, status, broken, fsync=fsync)
    training.daemon()
    eventually((runtime_dir / "daemon.sock").exists, what="the daemon")
    if when == "before":
        disk.breaks()
    process = training.begin()
    if when != "before":
        eventually(lambda: training.backend(backend).get("delivered"), what="the first rows")
        disk.breaks()
    eventually(lambda: training.backend(backend)["failures"], what="the backend fails")
    seen = rf"{backend} is retrying, tried \d+ times: OSError: .*{words(error)}"
    eventually(lambda: re.search(seen, shown()), what="the status says so")
    if when == "killed":
        os.kill(daemon_pid(runtime_dir), signal.SIGKILL)
        training.daemon()
        eventually(lambda: training.backend(backend)["failures"], what="the next daemon says so")
    open_files, made = descriptors(daemon_pid(runtime_dir)), files(tmp_path / "p" / "run", backend)
    more, further = training.backend(other)["delivered"] + 1000, training.backend(backend)["failures"] + 50
    eventually(lambda: training.backend(other)["delivered"] > more, what="the other backend goes on")
    eventually(lambda: training.backend(backend)["failures"] > further, what="it is tried again")
    eventually(lambda: training.backend(backend)["pending"] >= 1000, what="rows wait")
    assert only_run(status)["journal_error"] == ""
    assert descriptors(daemon_pid(runtime_dir)) <= open_files + 5
    assert len(files(tmp_path / "p" / "run", backend)) <= len(made) + 5
    disk.works()
    eventually(lambda: training.backend(backend)["state"] == "ok", what="the backend works again")
    training.enough.touch()
    assert process.wait(90) == 0, output()
    said = output()
    assert re.search(rf"WARNING {backend}: OSError: .*{words(error)}.*; trying again until it works", said)
    assert re.search(rf"{backend}: works again after \d+ failures", said)
    assert "are lost" not in said
    steps = training.steps
    whole({step: value(0, step) for step in range(steps)})
    eventually(lambda: status()[0]["closed_runs"], what="the run is closed")
    ((closed,),) = [daemon["closed_runs"].values() for daemon in status()]
    ledger = closed["ledger"]
    assert (ledger["issued"], ledger["journaled"], ledger["dropped"]) == (steps, steps, {})
    for name in (backend, other):
        share = ledger["backends"][name]
        assert (share["delivered"], share["dead"], share["pending"]) == (steps, 0, 0), name


def said(step: int) -> str:
    return f"text of step {step} " * (step % 50 + 1)


@pytest.fixture
def rank(tmp_path: Path, runtime_dir: Path) -> Iterator[MediaRank]:
    made = MediaRank(tmp_path, runtime_dir, {"jsonl": {}, "tensorboard": {}})
    yield made
    made.close()


def shown_texts(run: Path) -> dict[int, str]:
    """The texts of TensorBoard's event files by step."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    accumulator = EventAccumulator(str(run / "tensorboard"), size_guidance={"tensors": 0}, purge_orphaned_data=False)
    accumulator.Reload()
    events = accumulator.Tensors("note/text_summary")
    assert len({event.step for event in events}) == len(events)
    return {event.step: make_ndarray(event.tensor_proto).item().decode() for event in events}


def delivered(status: Status, backend: str) -> int:
    """Values that a backend has, by the ledger."""
    backends = only_run(status).get("ledger", {}).get("backends", {})
    return int(backends.get(backend, {}).get("delivered", 0))


def check_media(rank: MediaRank, logged: int) -> None:
    """Each item is there once, in order, whole; the ledger balances."""
    ledger = rank.finish().ledger
    assert media_texts(rank.run) == [(step, said(step)) for step in range(logged)]
    assert shown_texts(rank.run) == {step: said(step) for step in range(logged)}
    assert (ledger["issued"], ledger["journaled"], ledger["dropped"]) == (logged, logged, {})
    for name, share in ledger["backends"].items():
        assert (share["delivered"], share["dead"], share["pending"]) == (logged, 0, 0), name


@pytest.mark.fault("files-broken")
@pytest.mark.parametrize(
    ("when", "calls", "error", "durability"),
    [
        ("before", WRITES, errno.EIO, "process"),
        ("later", ALL, errno.EIO, "process"),
        ("later", "sync", errno.EIO, "fsync"),
        ("later", WRITES, errno.ENOSPC, "fsync"),
        ("killed", WRITES, errno.EIO, "process"),
    ],
)
def test_media_that_could_not_be_stored_are_stored_once_they_can(
    when: str,
    calls: str,
    error: int,
    durability: str,
    disk: BreakingDisk,
    rank: MediaRank,
    start: Start,
    runtime_dir: Path,
    status: Status,
    output: Callable[[], str],
    eventually: Eventually,
) -> None:
    """They are acked meanwhile, for they are journaled, and pending."""
    command = [sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics", "--durability", durability]
    environment = disk.environment("*/p/run/media/*", calls, error)
    daemon = start(*command, **environment)
    logged = 0

    def log(count: int) -> None:
        nonlocal logged
        for _ in range(count):
            rank.text(said(logged), logged)
            logged += 1
        rank.until_acked(logged)

    if when == "before":
        disk.breaks()
    else:
        log(60)
        rank.until(lambda: rank.freed == rank._head)
        disk.breaks()
    log(60)
    eventually(lambda: only_run(status).get("media", {}).get("error"), what="the daemon says so")
    assert words(error) in only_run(status)["media"]["error"]
    assert re.search(f"media wait: OSError: .*{words(error)}", shown())
    assert only_run(status)["media"]["pending"] > 0
    if when == "killed":
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        start(*command, **environment)
        log(60)
        eventually(lambda: only_run(status).get("media", {}).get("error"), what="the next daemon says so")
    log(60)
    shares = only_run(status)["ledger"]["backends"].values()
    assert min(share["pending"] for share in shares) >= only_run(status)["media"]["pending"]
    disk.works()
    rank.until(lambda: rank.freed == rank._head)
    assert only_run(status)["media"]["error"] == ""
    check_media(rank, logged)
    assert re.search(f"its media wait: .*{words(error)}.*; trying again each second", output())
    assert "its media go on" in output()


@pytest.mark.fault("files-broken")
def test_media_that_could_not_be_read_for_a_while_are_shown_all_the_same(
    disk: BreakingDisk, rank: MediaRank, start: Start, status: Status, eventually: Eventually
) -> None:
    """TensorBoard's files hold the bytes themselves, which are read where they are stored."""
    command = [sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics"]
    start(*command, **disk.environment("*/p/run/media/*", "read"))
    rank.text(said(0), 0)
    rank.until(lambda: delivered(status, "tensorboard"))
    disk.breaks()
    for step in range(1, 60):
        rank.text(said(step), step)
    rank.until(lambda: only_run(status)["backends"]["tensorboard"]["failures"])
    assert words(errno.EIO) in only_run(status)["backends"]["tensorboard"]["error"]
    disk.works()
    check_media(rank, 60)
