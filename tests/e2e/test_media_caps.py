"""More media than there is room for: the oldest go, each is delivered or counted, and metrics are all there."""

# ruff: noqa: PT031 - that a warning is told shows over several calls

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import asynclog
from tests.e2e.oracle import media_texts

pytestmark = pytest.mark.timeout(180)

DAEMON = (sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics")


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
    came = media_texts(run.dir)
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
    came = media_texts(run.dir)
    assert came == [(step, long_text(step)) for step, _ in came]
    assert came[-1][0] == 999
    assert metrics(run.dir) == [(step, float(step)) for step in range(1000)]
    assert ledger.dropped.get("media_full", 0) == 1000 - len(came) == sum(ledger.dropped.values())
    assert status()[0]["runs"][0]["media"]["refused"] == {}


RESTLESS = """
import itertools, sys, asynclog
run = asynclog.init("p", "run", dir=sys.argv[1], backends=["jsonl"])
for step in itertools.count():
    run.log({"note": asynclog.Text(f"text of step {step} ".ljust(100_000, ".")), "loss": float(step)}, step=step)
    if step == 0:
        run.flush(60)
        print("begun", flush=True)
"""


@pytest.mark.usefixtures("small_caps")
def test_a_rank_that_is_killed_while_it_drops_media_leaves_each_delivered_or_counted(
    tmp_path: Path, runtime_dir: Path, start, status, output, eventually: Callable[..., None]
) -> None:
    run = tmp_path / "p" / "run"
    daemon = start(*DAEMON)
    eventually((runtime_dir / "daemon.sock").exists, what="the daemon")  # or the rank starts one, with host metrics
    rank = start(sys.executable, "-W", "ignore", "-c", RESTLESS, tmp_path)
    eventually(lambda: "begun" in output(), what="the rank logs")
    os.killpg(daemon.pid, signal.SIGSTOP)
    # It says which file goes, then removes it: when it says the second, the first is gone.
    numbers = lambda: [int(path.read_text()) for path in run.glob("spool/*/media.dropped")]  # noqa: E731 - asked again
    eventually(lambda: max(numbers(), default=0) > 1, what="the rank has dropped media")
    rank.kill()
    rank.wait()
    os.killpg(daemon.pid, signal.SIGCONT)
    eventually(lambda: not (run / "spool").exists(), 60, "the spool of a rank that has died is removed")
    eventually(lambda: status() and not status()[0]["busy"], 60, "all is delivered")
    came = media_texts(run)
    assert came == [(step, long_text(step)) for step, _ in came]
    logged = metrics(run)
    assert logged == [(step, float(step)) for step in range(len(logged))]
    told = status()[0]
    ledger = told["runs"][0]["ledger"] if told["runs"] else told["closed_runs"][str(run)]["ledger"]
    dropped = ledger["dropped"]["media_full"]
    assert dropped > 0
    assert len(logged) - len(came) - dropped in (0, 1)  # the last call may have come as far as its row
    assert ledger["journaled"] == ledger["backends"]["jsonl"]["delivered"] == len(logged) + len(came)


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
    steps = [step for step, _ in media_texts(run.dir)]
    assert 35 <= len(steps) <= 41
    assert media_texts(run.dir) == [(step, long_text(step)) for step in range(60 - len(steps), 60)]
    assert metrics(run.dir) == [(step, float(step)) for step in range(60)]
    assert f"dropped {60 - len(steps)} (media_full {60 - len(steps)})" in answer.stdout
    assert not (run.dir / "spool").exists()
