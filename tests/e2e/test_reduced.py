"""reduced(): the same value on every rank, bit for bit, from the journal alone, through SIGKILLs of the daemon.

Values travel as float.hex. No step is closed by its deadline, which is ten minutes here, but where a test sets another.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.daemons import alive, daemon_pid

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCLOG_DAEMON_STEP_DEADLINE", "600")


def kill_daemon(runtime: Path, eventually: Any) -> None:
    eventually(lambda: alive(daemon_pid(runtime)) if daemon_pid(runtime) else False, what="a daemon is there")
    os.kill(daemon_pid(runtime), signal.SIGKILL)


def asked(rank: Any, name: str, step: int | None = None) -> Any:
    return rank("result", rank("reduced", name, step))


def test_each_rank_is_told_the_same_value_bit_for_bit(puppets) -> None:
    ranks = puppets(3)
    for step in range(5):
        logged = [0.1 * (rank + 1) + step / 3 for rank in range(3)]
        for rank, value in zip(ranks, logged, strict=True):
            rank("log", {"val/loss": value}, step=step)
        numbers = [rank("reduced", "val/loss") for rank in ranks]
        told = [rank("result", number) for rank, number in zip(ranks, numbers, strict=True)]
        assert len(set(told)) == 1
        assert float.fromhex(told[0]) == pytest.approx(sum(logged) / 3, rel=1e-15)


def test_a_run_of_one_rank_has_reduced_values_too(puppets) -> None:
    (rank,) = puppets(1)
    rank("log", {"loss": 0.1}, step=3)
    rank("log", {"acc": 0.7, "loss": 0.3}, step=4)
    rank("log", {"acc": 0.9}, step=5)
    assert asked(rank, "loss") == (0.3).hex()
    assert asked(rank, "loss", 3) == (0.1).hex()
    assert asked(rank, "acc") == (0.9).hex()
    assert "rank 0 has not logged 'other'" in asked(rank, "other")
    assert "no rank logged 'acc' at step 3" in asked(rank, "acc", 3)


def test_the_first_value_counts_also_for_who_asks_after_a_revision(puppets) -> None:
    ranks = puppets(2)
    for step in range(2):
        for rank in ranks:
            rank("log", {"loss": 1.0}, step=step)
    assert asked(ranks[0], "loss", 0) == (1.0).hex()
    ranks[1]("log", {"loss": 7.0}, step=0)  # late: a revision of the point
    assert ranks[1]("flush", timeout=60) is True
    assert asked(ranks[1], "loss", 0) == (1.0).hex()


def test_a_value_that_is_not_there_is_not_there_for_anybody_ever(puppets, runtime_dir: Path, eventually) -> None:
    ranks = puppets(2)
    for step in range(3):
        for rank in ranks:
            rank("log", {"loss": 1.0}, step=step)
    assert "no rank logged 'other' at step 1" in asked(ranks[0], "other", 1)
    ranks[1]("log", {"other": 5.0}, step=1)
    assert "no rank logged 'other' at step 1" in asked(ranks[1], "other", 1)
    kill_daemon(runtime_dir, eventually)
    assert "no rank logged 'other' at step 1" in asked(ranks[1], "other", 1)
    assert asked(ranks[0], "loss", 1) == (1.0).hex()


def test_a_daemon_that_is_killed_changes_no_answer_and_loses_no_question(
    puppets, runtime_dir: Path, eventually
) -> None:
    ranks = puppets(2)
    for step in range(1, 3):
        ranks[0]("log", {"loss": 0.1 * step}, step=step)
        early = ranks[0]("reduced", "loss")
        kill_daemon(runtime_dir, eventually)
        ranks[1]("log", {"loss": 0.7 * step}, step=step)
        numbers = [early, ranks[1]("reduced", "loss")]
        told = [rank("result", number) for rank, number in zip(ranks, numbers, strict=True)]
        assert len(set(told)) == 1
        assert float.fromhex(told[0]) == pytest.approx(0.4 * step, rel=1e-15)
        ranks[0]("log", {"loss": 100.0}, step=step)  # a revision
        kill_daemon(runtime_dir, eventually)
        assert [asked(rank, "loss", step) for rank in ranks] == told


def test_a_rank_that_dies_is_not_in_the_value_and_the_others_are_told_the_same(puppets) -> None:
    ranks = puppets(3)
    for rank in ranks:
        rank("log", {"loss": 1.0}, step=0)
    ranks[0]("log", {"loss": 2.0}, step=1)
    ranks[1]("log", {"loss": 4.0}, step=1)
    numbers = [rank("reduced", "loss") for rank in ranks[:2]]
    ranks[2].process.kill()
    ranks[2].process.wait()
    assert [rank("result", number) for rank, number in zip(ranks, numbers, strict=False)] == [(3.0).hex()] * 2


def test_a_rank_that_does_not_log_the_name_flushes_and_is_told(puppets) -> None:
    ranks = puppets(2)
    ranks[0]("log", {"val/loss": 0.25}, step=9)
    number = ranks[1]("reduced", "val/loss", 9)
    for rank in ranks:
        rank.ask("flush", timeout=60)
    assert [rank.answer() for rank in ranks] == [True, True]
    assert ranks[1]("result", number) == asked(ranks[0], "val/loss") == (0.25).hex()


def test_a_run_that_is_started_again_has_values_of_its_own(puppets) -> None:
    for value in (1.0, 5.0):
        ranks = puppets(2)
        for rank in ranks:
            rank("log", {"loss": value}, step=0)
        assert [asked(rank, "loss", 0) for rank in ranks] == [value.hex()] * 2
        for rank in ranks:
            rank.ask("finish", timeout=60)
        assert all("values" in rank.answer() for rank in ranks)


def test_a_run_that_ends_before_the_step_is_closed_says_so(puppets) -> None:
    ranks = puppets(2)
    ranks[0]("log", {"loss": 1.0}, step=0)
    number = ranks[0]("reduced", "loss")
    ranks[0]("finish", "failed", timeout=10)
    assert "the run ended before its step was closed" in ranks[0]("result", number)
    assert "the run is finished" in asked(ranks[0], "loss")
