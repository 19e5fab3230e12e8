"""flush(): what was logged is in the files when it returns, on every rank at once, whatever happens to the daemon.

No rank may get out of it by the step's deadline, which is ten minutes here: the tests would time out.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest

import asynclog
from tests.e2e.daemons import daemon_pid, sync
from tests.e2e.oracle import csv_series, tensorboard_series

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def no_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASYNCLOG_DAEMON_STEP_DEADLINE", "600")


def together(ranks: list[Any], method: str, *arguments: object, **keywords: object) -> list[Any]:
    """The same call on every rank, at about the same time."""
    for rank in ranks:
        rank.ask(method, *arguments, **keywords)
    return [rank.answer() for rank in ranks]


def both_files(run_dir: Path, name: str) -> dict[int, list[float]]:
    series = csv_series(run_dir, name)
    assert tensorboard_series(run_dir, name) == series
    return series


def test_ranks_that_log_other_names_at_the_last_step_flush_at_once_and_go_on(puppets, tmp_path: Path) -> None:
    ranks, run_dir = puppets(2), tmp_path / "p" / "run"
    expected: dict[int, list[float]] = {}
    for round_ in range(3):
        first, last = 10 * round_, 10 * round_ + 9
        for step in range(first, last):
            for number, rank in enumerate(ranks):
                rank("log", {"loss": float(step + number)}, step=step)
        ranks[0]("log", {"only/zero": 0.5}, step=last)
        ranks[1]("log", {"only/one": 1.5}, step=last)
        assert together(ranks, "flush", timeout=60) == [True, True]
        expected = {s: [s + 0.5] for s in range(last + 1) if s % 10 != 9}
        assert both_files(run_dir, "loss") == expected
        assert both_files(run_dir, "only/zero")[last] == [0.5]
        assert both_files(run_dir, "only/one")[last] == [1.5]
    together(ranks, "finish", timeout=60)
    assert both_files(run_dir, "loss") == expected


def test_what_a_rate_limit_holds_is_in_the_files_when_flush_returns(tmp_path: Path) -> None:
    backends = {"csv": {"rate_limit": {"loss": 0.0001}}, "tensorboard": {}}
    with asynclog.init("p", "run", dir=str(tmp_path), backends=backends) as run:
        for step in range(20):
            run.log({"loss": float(step % 7)}, step=step)
            if step % 10 == 9:
                assert run.flush(timeout=60)
                kept = {0, 6, 9} if step == 9 else {0, 6, 9, 13, 14, 19}  # highest, lowest and last, twice
                assert set(csv_series(tmp_path / "p" / "run", "loss")) == kept
        assert run.flush(timeout=60)
    assert len(tensorboard_series(tmp_path / "p" / "run", "loss")) == 20


def test_a_rank_that_logs_nothing_and_one_that_is_ahead_flush_at_once(puppets, tmp_path: Path) -> None:
    ranks, run_dir = puppets(3), tmp_path / "p" / "run"
    for step in range(5):
        ranks[0]("log", {"loss": float(step)}, step=step)
    ranks[1]("log", {"loss": 2.0}, step=0)
    assert together(ranks, "flush", timeout=60) == [True] * 3
    assert both_files(run_dir, "loss") == {0: [1.0], 1: [1.0], 2: [2.0], 3: [3.0], 4: [4.0]}


def test_a_rank_that_flushes_alone_waits_for_the_others_to_come_as_far(puppets, tmp_path: Path) -> None:
    ranks, run_dir = puppets(2), tmp_path / "p" / "run"
    for rank in ranks:
        rank("log", {"loss": 1.0}, step=0)
    ranks[0]("log", {"loss": 2.0}, step=1)
    ranks[0].ask("flush", timeout=60)
    ranks[1]("log", {"loss": 4.0}, step=1)
    assert ranks[0].answer() is True
    assert both_files(run_dir, "loss") == {0: [1.0], 1: [3.0]}


def test_a_flush_that_comes_too_early_says_what_is_missing(puppets, tmp_path: Path) -> None:
    ranks = puppets(2)
    for rank in ranks:
        rank("log", {"loss": 1.0}, step=0)
    ranks[0]("log", {"loss": 1.0}, step=1)
    assert ranks[0]("flush", timeout=3) is False
    told = (tmp_path / "process-puppet0.log").read_text()
    assert told.count("AsynclogWarning: asynclog: flush(): all is journaled, but not in the files yet") == 1


def test_a_daemon_that_is_killed_in_the_middle_of_flushes_is_asked_again(
    puppets, tmp_path: Path, runtime_dir: Path, eventually
) -> None:
    ranks, run_dir = puppets(2), tmp_path / "p" / "run"
    ranks[0]("log", {"loss": 0.0}, step=0)
    ranks[1]("log", {"loss": 0.0}, step=0)
    assert together(ranks, "flush", timeout=60) == [True, True]
    for kill in range(3):
        step = kill + 1
        ranks[0]("log", {"loss": float(step)}, step=step)
        ranks[0].ask("flush", timeout=60)
        # It can't have answered: rank 1 has not come to this step.
        eventually(lambda: daemon_pid(runtime_dir))
        os.kill(daemon_pid(runtime_dir), signal.SIGKILL)
        ranks[1]("log", {"loss": step + 1.0}, step=step)
        ranks[1].ask("flush", timeout=60)
        assert [rank.answer() for rank in ranks] == [True, True]
        assert both_files(run_dir, "loss") == {0: [0.0], **{s: [s + 0.5] for s in range(1, step + 1)}}


def test_offline_everything_is_in_the_spool(puppets, tmp_path: Path) -> None:
    (rank,) = puppets(1, "offline")
    for step in range(100):
        rank("log", {"loss": float(step)}, step=step)
    assert rank("flush", timeout=30) is True
    rank.process.kill()
    rank.process.wait()
    # The ring goes with the machine, say: the spool alone has it all.
    for ring in Path(os.environ["ASYNCLOG_RUNTIME_DIR"]).glob("rings/*.ring"):
        ring.unlink()
    sync(tmp_path)
    assert both_files(tmp_path / "p" / "run", "loss") == {s: [float(s)] for s in range(100)}
