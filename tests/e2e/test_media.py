"""Media through a real daemon that is killed, with workers that are killed: each item once, none lost."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.e2e.mediarank import MediaRank
from tests.e2e.oracle import media_texts

pytestmark = pytest.mark.timeout(180)

DAEMON = (sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics")


@pytest.fixture
def rank(tmp_path: Path, runtime_dir: Path) -> Iterator[MediaRank]:
    made = MediaRank(tmp_path, runtime_dir, {"jsonl": {}})
    yield made
    made.close()


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
    assert media_texts(rank.run) == [(step, said(step)) for step in range(logged)]
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
    assert media_texts(rank.run) == [(step, said(step)) for step in range(150)]


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
    assert media_texts(rank.run) == [(step, said(step)) for step in range(40)]


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
    assert media_texts(rank.run) == [(step, said(step)) for step in range(4)]
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
