"""`asynclog gc` on real runs: what goes, what stays, and what is said of it."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

import asynclog
from tests.e2e.oracle import csv_series
from tests.e2e.stored import asynclog_command, told

pytestmark = pytest.mark.timeout(120)

DAY = 86_400


def aged(run_dir: Path, days: float) -> Path:
    """The same run, as if it had been active last so long ago."""
    then = time.time() - days * DAY
    for path in (path for path in run_dir.rglob("*") if path.is_file()):
        os.utime(path, (then, then))
    return run_dir


def test_old_runs_lose_their_journal_and_keep_their_files(tmp_path: Path, finished) -> None:
    old, new = aged(finished(tmp_path, "old"), 31), aged(finished(tmp_path, "new"), 29)
    command = ["gc", tmp_path, "--older-than", "30d"]
    dry = asynclog_command(*command, "--dry-run")
    assert dry.returncode == 0
    assert "would go: older" in " ".join(dry.stdout.split())
    assert {run["name"] for run in told("runs", tmp_path)} == {"old", "new"}
    done = asynclog_command(*command)
    assert "1 of 2 runs are removed" in done.stdout
    assert [run["name"] for run in told("runs", tmp_path)] == ["new"]
    assert [path.name for path in old.iterdir()] == ["csv"]
    assert csv_series(old, "loss")[99] == [99 / 8]
    assert (new / "journal.sqlite").exists()
    assert "0 of 1 runs are removed" in asynclog_command(*command).stdout


def test_the_settings_say_what_may_go_where_nobody_does(
    tmp_path: Path, finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    for age in (1, 20, 31):
        aged(finished(tmp_path, f"run-{age}"), age)
    (tmp_path / "asynclog.toml").write_text('[retention]\nolder_than = "30d"\n')
    command = ["gc", tmp_path, "--config", tmp_path / "asynclog.toml"]
    assert "0 of 3 runs" in asynclog_command(*command, "--keep-size", "1G").stdout, "what is said stands alone"
    assert "1 of 3 runs are removed" in asynclog_command(*command).stdout
    monkeypatch.setenv("ASYNCLOG_RETENTION_KEEP_SIZE", "0")
    assert "2 of 2 runs are removed" in asynclog_command("gc", tmp_path).stdout
    monkeypatch.setenv("ASYNCLOG_RETENTION_KEEP_SIZE", "much")
    done = asynclog_command("gc", tmp_path)
    assert (done.returncode, "retention.keep_size: 'much' is no size" in done.stderr) == (2, True)


def test_all_means_the_files_of_backends_too_and_nobody_elses(tmp_path: Path, finished) -> None:
    old = aged(finished(tmp_path, "old"), 31)
    (old / "checkpoints").mkdir()
    assert asynclog_command("gc", tmp_path, "--older-than", "30d", "--all").returncode == 0
    assert [path.name for path in old.iterdir()] == ["checkpoints"]


def test_the_oldest_go_until_the_rest_fits(tmp_path: Path, finished) -> None:
    runs = [aged(finished(tmp_path, f"run-{age}"), age) for age in (1, 2, 3)]
    size = sum(path.stat().st_size for path in runs[0].glob("journal.*"))
    done = asynclog_command("gc", tmp_path, "--keep-size", str(2 * size))
    assert "beyond --keep-size" in " ".join(done.stdout.split())
    assert {run["name"] for run in told("runs", tmp_path)} == {"run-1", "run-2"}


def test_what_is_not_delivered_stays_unless_forced_and_the_loss_is_told(tmp_path: Path, finished) -> None:
    run = asynclog.init("p", "offline", dir=str(tmp_path), mode="offline")
    run.log({"loss": 1.0})
    run.finish()
    aged(tmp_path / "p" / "offline", 31)
    command = ["gc", tmp_path, "--older-than", "30d"]
    kept = " ".join(asynclog_command(*command).stdout.split())
    assert "stays:" in kept
    assert "bytes in its spool" in kept
    assert list((tmp_path / "p" / "offline").rglob("*.spool"))
    forced = " ".join(asynclog_command(*command, "--force").stdout.split())
    assert "and with it" in forced
    assert told("runs", tmp_path) == []


def test_a_run_that_goes_on_is_not_touched(tmp_path: Path, puppets) -> None:
    (rank,) = puppets(1)
    rank("log", {"loss": 1.0}, 0)
    assert rank("flush")
    done = asynclog_command("gc", tmp_path, "--keep-size", "0", "--force", "--all")
    assert done.returncode == 0
    assert "a process has it open" in " ".join(done.stdout.split())
    assert "must stay, and does not count for --keep-size" in done.stdout
    rank("log", {"loss": 2.0}, 1)
    assert "0 pending" in rank("finish")
    assert csv_series(tmp_path / "p" / "run", "loss") == {0: [1.0], 1: [2.0]}


def test_a_run_that_a_rank_goes_on_with_offline_is_not_touched(tmp_path: Path, puppets, eventually) -> None:
    (rank,) = puppets(1, mode="offline")
    spool = tmp_path / "p" / "run" / "spool"
    for step in range(100):
        rank("log", {"loss": step / 8}, step)
    eventually(lambda: list(spool.glob("*/*.spool")), 30, "it spools")
    command = ["gc", tmp_path, "--keep-size", "0", "--force", "--all"]
    for more in (["--dry-run"], []):
        done = asynclog_command(*command, *more)
        told_of = " ".join(done.stdout.split())
        assert (done.returncode, "0 of 1 runs" in told_of, "stays: a process logs to it" in told_of) == (0, True, True)
    rank("finish")
    assert asynclog_command("sync", tmp_path).returncode == 0
    found = csv_series(tmp_path / "p" / "run", "loss")
    assert [found[step] for step in range(100)] == [[step / 8] for step in range(100)]


def test_a_daemon_that_finds_the_mark_of_a_run_that_is_gone_begins_none(
    tmp_path: Path, puppets, start, runtime_dir: Path, eventually
) -> None:
    """An unfinished run is marked for the next daemon; when gc has removed it, that leaves its directory alone."""
    (rank,) = puppets(1)
    rank("log", {"loss": 1.0}, 0)
    assert rank("flush")
    daemon = int((runtime_dir / "daemon.lock").read_text())
    os.kill(daemon, 9)
    rank.process.kill()
    rank.process.wait()
    eventually(lambda: told("runs", tmp_path)[0]["status"] == "unfinished", 30, "the run is nobody's")
    assert asynclog_command("gc", tmp_path, "--keep-size", "0", "--force").returncode == 0
    for ring in (runtime_dir / "rings").iterdir():
        ring.unlink()
    start(sys.executable, "-m", "asynclogd", "daemon")
    eventually(lambda: (runtime_dir / "daemon.lock").read_text().strip() not in ("", str(daemon)), 30, "a daemon")
    eventually(lambda: asynclog_command("status").returncode == 0, 30, "it serves")
    assert told("runs", tmp_path) == []


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "say what may go"),
        (["--older-than", "soon"], "like 30d or 12h"),
        (["--keep-size", "x"], "like 50G or 500M"),
    ],
)
def test_what_is_wrong_is_told_with_an_example(tmp_path: Path, arguments: list[str], reason: str) -> None:
    done = asynclog_command("gc", tmp_path, *arguments)
    assert done.returncode == 2
    assert reason in done.stderr


@pytest.mark.parametrize("command", ["runs", "show", "export", "replay", "gc"])
def test_the_help_of_each_has_an_example(command: str) -> None:
    assert f"asynclog {command}" in asynclog_command(command, "--help").stdout.partition("Usage:")[2].partition("\n")[2]
