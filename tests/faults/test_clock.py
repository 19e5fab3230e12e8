"""The clock is moved by a day while a run goes on: of ranks and daemon alike, compiled code and Python."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Puppet, Start
from tests.e2e.oracle import csv_series, returned, value
from tests.faults.conftest import Whole
from tests.faults.preloaded import MovedClock

pytestmark = [pytest.mark.fault("clock-moved"), pytest.mark.timeout(120)]

Eventually = Callable[..., None]

DAY = 86_400
STEPS = 3000
DEADLINE = 4.0


@pytest.fixture
def daemon(start: Start, clock: MovedClock, runtime_dir: Path, eventually: Eventually) -> Callable[..., Any]:
    """`daemon(*options, **environment)`: one whose clock is moved; its log is the first process's."""

    def begin(*options: object, **environment: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics", "--log-format", "json"]
        process = start(*command, "--backend", "jsonl", *options, **clock.environment, **environment)
        eventually((runtime_dir / "daemon.sock").exists, what="the daemon")
        return process

    return begin


def points(out: Path) -> list[dict[str, Any]]:
    """The whole lines of the run's points.jsonl that have values."""
    path = out / "p" / "run" / "jsonl" / "points.jsonl"
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return [entry for entry in map(json.loads, lines) if "metrics" in entry]


def noticed(out: Path) -> list[str]:
    """What the daemon has said of its clock."""
    log = map(json.loads, (out / "process-0.log").read_text().split("\n")[:-1])
    return [line["message"] for line in log if line["incident"] == "clock-set"]


def days_off(times: Iterable[float]) -> list[int]:
    """By how many days each is off, neighbours that are alike taken together."""
    now = time.time()
    return [days for days, _ in groupby(round((at - now) / DAY) for at in times)]


def test_rows_have_the_clocks_time_and_all_arrive_once_in_their_order_without_delay(
    daemon: Callable[..., Any],
    worker: Start,
    clock: MovedClock,
    tmp_path: Path,
    whole: Whole,
    eventually: Eventually,
) -> None:
    """Steps close when both ranks have come to them: the deadline is far away."""
    serving = daemon(ASYNCLOG_DAEMON_STEP_DEADLINE="100")
    said = ["--world", 2, "--steps", STEPS, "--period", 0.001, "--backends", "csv,tensorboard,jsonl"]
    ranks = [worker("--rank", rank, *said, **clock.environment) for rank in range(2)]
    told = [tmp_path / f"returned-run-{rank}" for rank in range(2)]
    for number, move in enumerate((DAY, -DAY), 1):
        eventually(lambda number=number: min(map(returned, told)) > 800 * number, 60, "steps")
        clock.sets(move)
        logged = min(map(returned, told))
        eventually(lambda logged=logged: points(tmp_path)[-1]["step"] >= logged, 10, "what was logged by then")
        eventually(lambda number=number: len(noticed(tmp_path)) == number, what="a word of it")
    assert [rank.wait(60) for rank in ranks] == [0, 0]
    serving.terminate()
    assert serving.wait(30) == 0
    whole({step: value(0, step) + 0.5 for step in range(STEPS)}, world=2)
    found = points(tmp_path)
    assert [entry["step"] for entry in found] == list(range(STEPS))
    assert days_off(entry["time"] for entry in found) == [0, 1, -1]
    log = map(json.loads, (tmp_path / "process-0.log").read_text().splitlines())
    assert noticed(tmp_path) == ["the clock was set by +86400 s", "the clock was set by -172800 s"]
    by_daemon = days_off(datetime.fromisoformat(line["time"]).timestamp() for line in log)
    assert (by_daemon[0], by_daemon[-1]) == (0, -1)


@pytest.fixture
def moved_puppets(
    puppets: Callable[..., list[Puppet]], clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], list[Puppet]]:
    """`moved_puppets(world)`: ranks whose clock is moved."""

    def begin(world: int) -> list[Puppet]:
        with monkeypatch.context() as environment:
            for name, text in clock.environment.items():
                environment.setenv(name, text)
            return puppets(world)

    return begin


@pytest.mark.parametrize("move", [DAY, -DAY])
def test_a_step_that_lacks_a_rank_closes_at_its_deadline(
    move: int,
    daemon: Callable[..., Any],
    moved_puppets: Callable[[int], list[Puppet]],
    clock: MovedClock,
    tmp_path: Path,
    status: Callable[[], list[dict[str, Any]]],
    eventually: Eventually,
) -> None:
    def is_open() -> bool:
        return any(rank["step"] == 1 for told in status() for run in told["runs"] for rank in run["ranks"])

    daemon(ASYNCLOG_DAEMON_STEP_DEADLINE=str(DEADLINE))
    first, second = moved_puppets(2)
    for rank in (first, second):
        rank("log", {"loss": 1.0}, step=0)
    eventually(lambda: points(tmp_path), what="a step of both")
    began = time.monotonic()
    first("log", {"loss": 2.0}, step=1)
    eventually(is_open, what="the step at the daemon")
    clock.sets(move)
    first("log", {"loss": 3.0}, step=2)
    eventually(lambda: len(points(tmp_path)) > 1, DEADLINE + 20, "the step of one")
    assert time.monotonic() - began > 0.75 * DEADLINE
    assert second.process.poll() is None


@pytest.mark.parametrize("move", [DAY, -DAY])
def test_a_flush_that_nobody_answers_ends_at_its_deadline(
    move: int, daemon: Callable[..., Any], moved_puppets: Callable[[int], list[Puppet]], clock: MovedClock
) -> None:
    serving = daemon()
    (rank,) = moved_puppets(1)
    rank("log", {"loss": 1.0}, step=0)
    assert rank("flush", 30.0)
    os.kill(serving.pid, signal.SIGSTOP)
    rank("log", {"loss": 1.0}, step=1)
    began = time.monotonic()
    rank.ask("flush", DEADLINE)
    clock.sets(move)
    assert rank.answer() is False
    assert 0.75 * DEADLINE < time.monotonic() - began < DEADLINE + 60
    os.kill(serving.pid, signal.SIGCONT)
    assert rank("flush", 30.0)


def test_what_a_rate_limit_holds_goes_out_when_its_bucket_is_over(
    daemon: Callable[..., Any],
    moved_puppets: Callable[[int], list[Puppet]],
    clock: MovedClock,
    tmp_path: Path,
    status: Callable[[], list[dict[str, Any]]],
    eventually: Eventually,
) -> None:
    """Nothing follows that would tell, and the clock comes to its end tomorrow."""

    def is_held() -> bool:
        return any(run["backends"]["jsonl"]["held_values"] for told in status() for run in told["runs"])

    config = tmp_path / "daemon.toml"
    config.write_text('[backends.jsonl]\nrate_limit = { "*" = 1 }\n')
    daemon("--config", config)
    (rank,) = moved_puppets(1)
    rank("log", {"loss": 1.0}, step=0)
    eventually(is_held, what="what is held")
    clock.sets(-DAY)
    assert not points(tmp_path)
    eventually(lambda: points(tmp_path), 20, "what was held")


@pytest.mark.parametrize("end", ["offline", "killed"])
@pytest.mark.parametrize("move", [DAY, -DAY])
def test_of_two_launches_that_nobody_heard_the_one_that_began_later_supersedes(
    move: int, end: str, worker: Start, clock: MovedClock, tmp_path: Path, runtime_dir: Path
) -> None:
    how = ["--mode", "offline"] if end == "offline" else ["--die-at", "500"]
    for first, offset in ((0, 0), (100, 1000)):
        said = ["--first", first, "--steps", 600 - first, "--offset", offset, *how]
        rank = worker(*said, ASYNCLOG_ENDPOINT=f"ipc://{runtime_dir}/nobody.sock", **clock.environment)
        assert rank.wait(60) == (0 if end == "offline" else -signal.SIGKILL)
        clock.sets(move)
    steps = 600 if end == "offline" else 500
    command = [sys.executable, "-m", "asynclogd", "sync", str(tmp_path), "--backend", "csv"]
    subprocess.run(command, check=True, capture_output=True)
    wanted = {step: [value(0, step) + 1000 * (step >= 100)] for step in range(steps)}
    assert csv_series(tmp_path / "p" / "run", "loss") == wanted
