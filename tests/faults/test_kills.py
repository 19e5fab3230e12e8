"""SIGKILL of ranks, of the daemon, of both: every record whose log() returned is in both file backends, once."""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest

from tests.e2e.balance import expect_balanced
from tests.e2e.daemons import alive, daemon_pid, peak_mb, sync
from tests.e2e.oracle import csv_series, expect_each_once, returned, value

pytestmark = pytest.mark.timeout(180)

KILLS = 3


def up_to(step: int) -> dict[int, float]:
    return {s: value(0, s) for s in range(step + 1)}


@pytest.mark.fault("rank-killed")
@pytest.mark.parametrize("flush_ms", [100, 1000], ids=["with idle cores", "without"])
def test_a_killed_rank_loses_nothing(
    flush_ms: int,
    worker,
    tmp_path: Path,
    runtime_dir: Path,
    status,
    eventually,
    whole,
    probe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ASYNCLOG_FLUSH_MS", str(flush_ms))
    rank = worker("--steps", 10**7)
    told = tmp_path / "returned-run-0"
    # A rank that is killed before it has started a daemon waits for the next one.
    eventually(lambda: returned(told) > 20_000 and daemon_pid(runtime_dir), 60, "20,000 steps logged, and a daemon")
    rank.kill()
    rank.wait()
    last = returned(told)
    eventually(lambda: status() and not status()[0]["busy"], 60, "the daemon has delivered what the rank left")
    whole(up_to(last), extra=1)
    probe()
    assert list((runtime_dir / "rings").iterdir()) == []


@pytest.mark.fault("daemon-killed")
def test_a_killed_daemon_is_started_again_and_loses_nothing(
    worker, tmp_path: Path, runtime_dir: Path, eventually, whole
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    chance = random.Random(seed)
    rank = worker("--steps", 3600, "--period", 0.002)
    told = tmp_path / "returned-run-0"
    killed = 0
    for kill in range(1, KILLS + 1):
        aim = chance.randrange((kill - 1) * 1000, kill * 1000)
        eventually(
            lambda aim=aim: returned(told) >= aim and daemon_pid(runtime_dir) and alive(daemon_pid(runtime_dir)),
            60,
            f"a daemon alive at step {aim}",
        )
        os.kill(daemon_pid(runtime_dir), signal.SIGKILL)
        killed += 1
    assert rank.wait(90) == 0
    assert killed == KILLS
    whole(up_to(3599), seed=seed)


@pytest.mark.fault("daemon-killed")
def test_a_daemon_that_is_killed_as_soon_as_it_starts_loses_nothing(
    worker, tmp_path: Path, runtime_dir: Path, eventually, whole
) -> None:
    """The spawns have grown rare by then; at the run's end one comes at once."""
    rank = worker("--steps", 4500, "--period", 0.002)
    told = tmp_path / "returned-run-0"
    seen: set[int] = set()
    while returned(told) < 3800 and rank.poll() is None:
        pid = daemon_pid(runtime_dir)
        if pid and pid not in seen and alive(pid):
            seen.add(pid)
            os.kill(pid, signal.SIGKILL)
    assert rank.wait(90) == 0
    assert len(seen) >= 2
    whole(up_to(4499))


@pytest.mark.fault("both-killed")
def test_both_killed_lose_nothing(worker, tmp_path: Path, runtime_dir: Path, eventually, whole, probe) -> None:
    rank = worker("--steps", 10**7, "--period", 0.0005)
    told = tmp_path / "returned-run-0"
    eventually(lambda: returned(told) > 1000 and daemon_pid(runtime_dir), 60, "1,000 steps logged")
    os.kill(daemon_pid(runtime_dir), signal.SIGKILL)
    rank.kill()
    rank.wait()
    sync(tmp_path)
    whole(up_to(returned(told)), extra=1)
    probe()


@pytest.mark.fault("both-killed")
def test_both_killed_before_a_daemon_ever_answered_lose_nothing(
    worker, tmp_path: Path, eventually, whole, probe
) -> None:
    rank = worker("--steps", 10**7, "--period", 0.0005, "--mode", "offline")
    told = tmp_path / "returned-run-0"
    eventually(lambda: returned(told) > 1000, 60, "1,000 steps logged")
    rank.kill()
    rank.wait()
    sync(tmp_path)
    whole(up_to(returned(told)), extra=1)
    probe()


@pytest.mark.fault("daemon-stopped")
def test_a_stopped_daemon_delays_no_rank_and_gets_it_all_later(
    worker, tmp_path: Path, runtime_dir: Path, eventually, whole, probe
) -> None:
    told = tmp_path / "returned-run-0"
    rank = worker("--steps", 200_000)
    eventually(lambda: returned(told) > 1000 and daemon_pid(runtime_dir), 60, "1,000 steps logged")
    daemon = daemon_pid(runtime_dir)
    os.kill(daemon, signal.SIGSTOP)
    try:
        eventually(lambda: returned(told) == 199_999, 60, "every step logged while the daemon stood still")
    finally:
        os.kill(daemon, signal.SIGCONT)
    eventually(lambda: rank.poll() is not None, 90, "the rank's end")
    peak = peak_mb(daemon)
    assert rank.wait() == 0
    whole(up_to(199_999), memory_mb=peak)
    probe()


@pytest.mark.fault("rank-killed")
def test_one_of_four_ranks_dies_and_one_logs_other_names(worker, tmp_path: Path, status, eventually) -> None:
    steps, death = 600, 250
    ranks = []
    for rank in range(4):
        options = ["--rank", rank, "--world", 4, "--steps", steps, "--period", 0.005]
        if rank == 1:
            options += ["--die-at", death]
        if rank == 2:
            options += ["--also", "only/rank2"]
        ranks.append(worker(*options))
    assert [rank.wait(90) for rank in ranks] == [0, -signal.SIGKILL, 0, 0]
    eventually(lambda: not status() or not status()[0]["busy"], 60, "all is delivered")
    expected = {
        step: sum(value(rank, step) for rank in range(4) if rank != 1 or step < death) / (4 if step < death else 3)
        for step in range(steps)
    }
    run_dir = tmp_path / "p" / "run"
    expect_each_once(run_dir, "loss", expected)
    expect_each_once(run_dir, "only/rank2", {step: float(step) for step in range(steps)})
    assert set(csv_series(run_dir, "loss")) == set(range(steps))
    expect_balanced(run_dir, 3 * steps + death + steps)
