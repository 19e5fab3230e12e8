"""Media through a real daemon that is killed, with workers that are killed: each item once, none lost."""

# ruff: noqa: PT031 - that a warning is told shows over several calls

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import asynclog
from tests.e2e.mediarank import MediaRank

pytestmark = pytest.mark.timeout(180)

DAEMON = (sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics")


@pytest.fixture
def rank(tmp_path: Path, runtime_dir: Path) -> Iterator[MediaRank]:
    made = MediaRank(tmp_path, runtime_dir, {"jsonl": {}})
    yield made
    made.close()


def content(run: Path) -> list[tuple[int, str]]:
    """(step, text) of each reference in points.jsonl, its bytes read from the run's files."""
    found = []
    for line in (run / "jsonl" / "points.jsonl").read_text().splitlines():
        entry: dict[str, Any] = json.loads(line)
        if entry.get("type") == "media":
            with (run / entry["file"]).open("rb") as file:
                file.seek(entry["offset"])
                data = file.read(entry["size"])
            assert hashlib.blake2b(data, digest_size=16).hexdigest() == entry["digest"]
            found.append((entry["step"], data.decode()))
    return found


def said(step: int) -> str:
    return f"text of step {step} " * (step % 50 + 1)


def test_a_daemon_that_is_killed_again_and_again_has_each_item_once_and_in_order(
    rank: MediaRank, start, eventually: Callable[..., None]
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    daemon = start(*DAEMON)
    logged = 0
    for _ in range(5):
        for _ in range(chance.randrange(50, 150)):
            rank.text(said(logged), logged)
            logged += 1
        rank.until_acked(chance.randrange(logged))
        daemon.send_signal(signal.SIGKILL)
        daemon.wait()
        daemon = start(*DAEMON)
    ledger = rank.finish().ledger
    assert content(rank.run) == [(step, said(step)) for step in range(logged)]
    assert ledger["issued"] == ledger["journaled"] == ledger["backends"]["jsonl"]["delivered"] == logged
    assert rank.freed == rank._head
    eventually(lambda: not rank.outbox.exists(), what="the outbox of a rank that has ended is removed")


def test_workers_that_are_killed_cost_nothing(rank: MediaRank, start) -> None:
    daemon = psutil.Process(start(*DAEMON).pid)
    killed = 0
    for step in range(150):
        rank.text(said(step), step)
        if step % 30 == 29:
            rank.until(lambda: rank.freed == rank._head)
            for worker in daemon.children():
                worker.kill()
                killed += 1
    ledger = rank.finish().ledger
    assert killed
    assert ledger["dropped"] == {}
    assert content(rank.run) == [(step, said(step)) for step in range(150)]


def test_what_a_killed_rank_left_in_ring_and_outbox_is_encoded_and_both_are_removed(
    rank: MediaRank, start, status, eventually: Callable[..., None]
) -> None:
    for step in range(40):
        rank.text(said(step), step)
    rank.leave_in_ring()
    rank.close()
    start(*DAEMON, "--backend", "jsonl")
    eventually(lambda: not rank.ring.exists() and not rank.outbox.exists(), what="ring and outbox are removed")
    eventually(lambda: status() and not status()[0]["busy"], what="all is delivered")
    assert content(rank.run) == [(step, said(step)) for step in range(40)]


def test_what_was_pending_when_rank_and_daemon_were_killed_is_delivered_by_sync(
    rank: MediaRank, tmp_path: Path, start, eventually: Callable[..., None]
) -> None:
    daemon = start(*DAEMON)
    rank.text(said(0), 0)
    rank.until(lambda: rank.freed == rank._head)
    for worker in psutil.Process(daemon.pid).children():
        worker.suspend()
    rank.text(said(1), 1)
    for step in (2, 3):
        rank.spilt_text(said(step), step)
    rank.until_acked(4)
    daemon.kill()
    daemon.wait()
    rank.close()
    answer = subprocess.run(
        [sys.executable, "-m", "asynclogd", "sync", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert content(rank.run) == [(step, said(step)) for step in range(4)]
    assert not rank.outbox.exists()
    assert not (rank.run / "spool").exists()


def test_status_tells_of_media(rank: MediaRank, start, status, eventually: Callable[..., None]) -> None:
    start(*DAEMON)
    for step in range(5):
        rank.text(said(step), step)
    rank.until(lambda: rank.freed == rank._head)
    rank.outbox.unlink()
    rank.text("where nothing is any more", 5)
    rank.until(lambda: rank.freed == rank._head)
    (run,) = status()[0]["runs"]
    media = run["media"]
    assert (media["taken"], media["pending"], media["pending_bytes"], media["error"]) == (6, 0, 0, "")
    assert media["dropped"] == {"media_refused": 1}
    ((reason, count),) = media["refused"].items()
    assert "its body is gone" in reason
    assert count == 1
    assert media["stored_bytes"] > sum(len(said(step)) for step in range(5))
    assert run["ledger"]["dropped"] == {"media_refused": 1}


@pytest.fixture
def small_caps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for 10 of `long_text` in the outbox, and for at least 35 in the spool."""
    monkeypatch.setenv("ASYNCLOG_MEDIA_MB", "1")
    monkeypatch.setenv("ASYNCLOG_MEDIA_SPOOL_MB", "4")


def long_text(step: int) -> str:
    return f"text of step {step} ".ljust(100_000, ".")


def log_more_than_fits(run: asynclog.Run, steps: range) -> None:
    with pytest.warns(asynclog.AsynclogWarning, match="the oldest are dropped, counted as media_full"):
        for step in steps:
            run.log({"note": asynclog.Text(long_text(step)), "loss": float(step)}, step=step)


def metrics(run: Path) -> list[tuple[int, float]]:
    lines = map(json.loads, (run / "jsonl" / "points.jsonl").read_text().splitlines())
    return [(line["step"], line["metrics"]["loss"]) for line in lines if "loss" in line.get("metrics", ())]


@pytest.mark.usefixtures("small_caps")
def test_media_that_come_faster_than_a_daemon_takes_them_lose_their_oldest_and_metrics_none(
    tmp_path: Path, start, status, eventually: Callable[..., None]
) -> None:
    daemon = start(*DAEMON)
    run = asynclog.init("p", "run", dir=tmp_path, backends=["jsonl"])
    run.log({"loss": 0.0}, step=0)
    assert run.flush(60)
    os.killpg(daemon.pid, signal.SIGSTOP)
    log_more_than_fits(run, range(1, 101))
    os.killpg(daemon.pid, signal.SIGCONT)
    ledger = run.finish(timeout=120)
    assert ledger.complete, str(ledger)
    came = content(run.dir)
    assert came == [(step, long_text(step)) for step, _ in came]
    steps = [step for step, _ in came]
    assert steps[:10] == list(range(1, 11))  # they were in the outbox
    assert steps[10:] == list(range(101 - len(steps[10:]), 101))
    assert 35 <= len(steps[10:]) <= 41
    assert metrics(run.dir) == [(step, float(step)) for step in range(101)]
    assert ledger.dropped == {"media_full": 100 - len(came)}
    assert ledger.issued == 201 == ledger.journaled + ledger.dropped["media_full"]
    assert ledger.backends["jsonl"].delivered == ledger.journaled
    (told,) = status()[0]["runs"]
    assert told["media"]["refused"] == {}
    eventually(lambda: not (run.dir / "spool").exists(), what="the spool of a rank that has ended is removed")


@pytest.mark.usefixtures("small_caps")
@pytest.mark.filterwarnings("ignore:asynclog. the media in:asynclog.AsynclogWarning")
def test_media_that_are_dropped_while_they_are_read_are_delivered_or_counted(tmp_path: Path, start, status) -> None:
    start(*DAEMON)
    run = asynclog.init("p", "run", dir=tmp_path, backends=["jsonl"])
    for step in range(1000):
        run.log({"note": asynclog.Text(long_text(step)), "loss": float(step)}, step=step)
    ledger = run.finish(timeout=120)
    assert ledger.complete, str(ledger)
    came = content(run.dir)
    assert came == [(step, long_text(step)) for step, _ in came]
    assert came[-1][0] == 999
    assert metrics(run.dir) == [(step, float(step)) for step in range(1000)]
    assert ledger.dropped.get("media_full", 0) == 1000 - len(came) == sum(ledger.dropped.values())
    assert status()[0]["runs"][0]["media"]["refused"] == {}


@pytest.mark.usefixtures("small_caps")
def test_what_an_offline_run_had_no_room_for_is_counted_by_sync(tmp_path: Path) -> None:
    run = asynclog.init("p", "run", dir=tmp_path, backends=["jsonl"], mode="offline")
    log_more_than_fits(run, range(60))
    run.finish()
    answer = subprocess.run(
        [sys.executable, "-m", "asynclogd", "sync", str(tmp_path), "--backend", "jsonl", "--no-host-metrics"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stdout + answer.stderr
    steps = [step for step, _ in content(run.dir)]
    assert 35 <= len(steps) <= 41
    assert content(run.dir) == [(step, long_text(step)) for step in range(60 - len(steps), 60)]
    assert metrics(run.dir) == [(step, float(step)) for step in range(60)]
    assert f"dropped {60 - len(steps)} (media_full {60 - len(steps)})" in answer.stdout
    assert not (run.dir / "spool").exists()
