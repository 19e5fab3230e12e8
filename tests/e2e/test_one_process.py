"""A single process from init() to the files."""

# ruff: noqa: PT031 - that a warning is told shows over several calls

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import asynclog
from asynclog_proto import records, spoolfile
from tests.e2e.oracle import csv_series, expect_each_once, tensorboard_series, value

pytestmark = pytest.mark.timeout(120)


def test_what_is_logged_is_in_the_files_when_finish_returns(tmp_path: Path) -> None:
    with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["tensorboard", "csv", "jsonl"]) as run:
        for step in range(500):
            run.log({"loss": value(0, step), "lr": 0.125}, step=step)
        ledger = run.finish()
    assert ledger.complete, str(ledger)
    assert ledger.issued >= 1000
    assert ledger.dropped == {}
    for name, row in ledger.backends.items():
        assert row.delivered == ledger.journaled, name
    run_dir = tmp_path / "p" / "r"
    expect_each_once(run_dir, "loss", {step: value(0, step) for step in range(500)})
    expect_each_once(run_dir, "lr", dict.fromkeys(range(500), 0.125))
    lines = [json.loads(line) for line in (run_dir / "jsonl" / "points.jsonl").read_text().splitlines()]
    logged = [line["metrics"]["loss"] for line in lines if "loss" in line.get("metrics", {})]
    assert logged == [value(0, step) for step in range(500)]


def test_a_training_with_thousands_of_open_descriptors_logs_as_any_other(tmp_path: Path, start, output) -> None:
    """Workers that load data leave one for each tensor that they share."""
    script = f"""
import os, resource, time, asynclog
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
held = [os.open(os.devnull, os.O_RDONLY) for _ in range(2000)]
with asynclog.init(project="p", name="r", dir={str(tmp_path)!r}) as run:
    for step in range(500):
        run.log({{"loss": step}}, step=step)
        if step == 0:
            run.flush()  # from here on the daemon is there
        time.sleep(0.001)
    assert run.finish().complete
"""
    assert start(sys.executable, "-W", "error", "-c", script).wait(60) == 0, output()
    expect_each_once(tmp_path / "p" / "r", "loss", dict(enumerate(map(float, range(500)))))


@pytest.mark.fault("values-odd")
def test_non_finite_values_arrive(tmp_path: Path) -> None:
    with asynclog.init(project="p", name="r", dir=str(tmp_path)) as run:
        for step, number in enumerate((float("nan"), float("inf"), float("-inf"), -0.0, 5e-324)):
            run.log({"x": number}, step=step)
    series = csv_series(tmp_path / "p" / "r", "x")
    assert str(series[0][0]) == "nan"
    assert [series[1], series[2]] == [[float("inf")], [float("-inf")]]
    assert str(series[3][0]) == "-0.0"
    assert series[4] == [5e-324]
    assert tensorboard_series(tmp_path / "p" / "r", "x").keys() == {0, 1, 2, 3, 4}


@pytest.mark.fault("exits")
@pytest.mark.parametrize("flushed", [True, False])
def test_a_cell_that_is_executed_again_begins_its_run_again(tmp_path: Path, flushed: bool) -> None:
    """Nobody has ended the run that `init()` finds open: its steps are superseded, as after a restart."""

    def cell(steps: int, offset: float) -> asynclog.Run:
        run = asynclog.init(project="p", name="r", dir=str(tmp_path))
        for step in range(steps):
            run.log({"x": step + offset}, step=step)
        return run

    first = cell(steps=5, offset=0.0)
    if flushed:
        assert first.flush()
    with pytest.warns(asynclog.AsynclogWarning, match="had the run p/r open: init.. ends it, and begins it again"):
        second = cell(steps=3, offset=10.0)
    for run in (second, first):
        assert run.finish().complete
    assert csv_series(tmp_path / "p" / "r", "x") == {0: [10.0], 1: [11.0], 2: [12.0]}


@pytest.mark.fault("two-at-once")
def test_two_runs_at_once_do_not_mix(worker, tmp_path: Path) -> None:
    runs = [worker("--name", f"run{i}", "--steps", 2000) for i in range(2)]
    for run in runs:
        assert run.wait(90) == 0
    for i in range(2):
        expect_each_once(tmp_path / "p" / f"run{i}", "loss", {step: value(0, step) for step in range(2000)})


def test_one_daemon_serves_a_race_of_eight_ranks(worker, tmp_path: Path, status, eventually) -> None:
    seen = tmp_path / "seen"  # all of them live until the status has shown them
    ranks = [worker("--rank", rank, "--world", 8, "--steps", 300, "--until", seen) for rank in range(8)]

    def ranks_seen() -> list[int]:
        """How many each daemon has."""
        return [sum(len(run["ranks"]) for run in daemon["runs"]) for daemon in status()]

    eventually(lambda: ranks_seen() == [8], 60, "one daemon, eight ranks")
    seen.touch()
    for rank in ranks:
        assert rank.wait(90) == 0
    expected = {step: sum(value(rank, step) for rank in range(8)) / 8 for step in range(300)}
    expect_each_once(tmp_path / "p" / "run", "loss", expected)


@pytest.mark.parametrize("seconds", [1, 0])
def test_the_daemon_it_started_ends_by_itself_when_idle(
    seconds: int, tmp_path: Path, worker, runtime_dir: Path, eventually
) -> None:
    assert worker("--steps", 10, ASYNCLOG_DAEMON_IDLE_TIMEOUT=str(seconds)).wait(60) == 0
    eventually(lambda: not (runtime_dir / "daemon.sock").exists(), 30, "the daemon has ended")
    assert "idle" in (runtime_dir / "daemon.log").read_text()
    assert list((runtime_dir / "rings").iterdir()) == []
    assert list((runtime_dir / "runs").iterdir()) == []


def test_offline_runs_are_delivered_by_sync(tmp_path: Path, worker) -> None:
    assert worker("--steps", 700, "--mode", "offline").wait(60) == 0
    run_dir = tmp_path / "p" / "run"
    assert not (run_dir / "csv").exists()
    for _ in range(2):  # a second sync finds nothing to do and doubles nothing
        sync = subprocess.run(
            [sys.executable, "-m", "asynclogd", "sync", str(tmp_path)], capture_output=True, text=True, check=False
        )
        assert sync.returncode == 0, sync.stdout + sync.stderr
        expect_each_once(run_dir, "loss", {step: value(0, step) for step in range(700)})
    assert not (run_dir / "spool").exists()


def test_a_sync_beside_a_run_that_its_daemon_has_open_does_not_wait_for_it(
    tmp_path: Path, worker, status, eventually
) -> None:
    """It waits for backends to be given what they have not, for ten minutes if need be."""
    until = tmp_path / "enough"
    rank = worker("--steps", 10, "--until", until)
    with asynclog.init("p", "other", dir=str(tmp_path), mode="offline") as other:
        other.log({"loss": 0.5}, step=0)
    eventually(lambda: any(report["runs"] for report in status()), 60, "the daemon has the run open")
    sync = [sys.executable, "-m", "asynclogd", "sync", str(tmp_path)]
    done = subprocess.run(sync, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "another process has this journal open" in done.stderr
    expect_each_once(tmp_path / "p" / "other", "loss", {0: 0.5})
    until.touch()
    assert rank.wait(60) == 0


def _warned(told: pytest.WarningsRecorder, part: str) -> bool:
    return any(part in str(one.message) for one in told)


def test_a_directory_that_can_not_be_made_is_told_by_the_daemon_and_status(status) -> None:
    with pytest.warns(asynclog.AsynclogWarning) as told:
        run = asynclog.init("p", "r", dir="/proc/x")  # not even root may write there
        run.log({"x": 1.0})
        ledger = run.finish(timeout=100)
    assert not ledger.complete
    assert _warned(told, "the daemon refuses this run: the directory /proc/x/p/r can't be made: No such file")
    (report,) = status()
    assert "can't be made" in report["untaken_runs"]["/proc/x/p/r"]
    shown = subprocess.run([sys.executable, "-m", "asynclogd", "status"], capture_output=True, text=True, check=True)
    assert "can't be taken: /proc/x/p/r" in shown.stdout


def test_a_directory_that_can_not_be_written_is_told_while_the_daemon_is_asked_again(status, eventually) -> None:
    with pytest.warns(asynclog.AsynclogWarning) as told:
        run = asynclog.init("sys", "kernel", dir="/proc")  # is there, and not even root may make files in it
        run.log({"x": 1.0})
        eventually(lambda: _warned(told, "can't take this run now"), what="the daemon has told why")
        assert not run.finish(timeout=0.5).complete
    assert "/proc/sys/kernel" in status()[0]["untaken_runs"]


@pytest.mark.filterwarnings("ignore::asynclog.AsynclogWarning")
def test_what_was_dropped_offline_is_in_the_ledger_of_sync(tmp_path: Path) -> None:
    run = asynclog.init("p", "r", dir=str(tmp_path), mode="offline")
    for step in range(20):
        run.log({"x": float(step)}, step=step)
    run.log({"x": "no number", "y": object(), "": 1.0}, step=20)
    assert run.finish().dropped == {"bad_value": 2, "bad_name": 1}
    sync = synced(tmp_path)
    assert sync.returncode == 0, sync.stdout + sync.stderr
    told = " ".join(sync.stdout.split())
    assert "issued 23 = journaled 20 + in transit 0 + dropped 3 (bad_value 2, bad_name 1)" in told
    assert not (tmp_path / "p" / "r" / "spool").exists()


def test_what_a_deleted_segment_held_is_lost_in_the_ledger_of_sync(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("asynclog.spool.SEGMENT_BYTES", 200 << 10)
    run = asynclog.init("p", "r", dir=str(tmp_path), mode="offline")
    for step in range(30_000):
        run.log({"x": float(step)}, step=step)
    run.finish()
    segments = sorted((tmp_path / "p" / "r" / "spool").glob("*/*.spool"))
    held = _rows(segments[1])
    assert held > 0
    assert len(segments) > 2
    segments[1].unlink()
    sync = synced(tmp_path)
    told = " ".join(sync.stdout.split())
    journaled = f"issued 30,000 = journaled {30_000 - held:,} + in transit 0 + dropped {held:,} (lost {held:,})"
    assert journaled in told, told
    assert f"rank 0: {held:,} records are lost" in told
    assert "the journal has gone" not in sync.stderr


def _rows(segment: Path) -> int:
    batches = spoolfile.read_batches(memoryview(segment.read_bytes()))
    return sum(
        isinstance(records.decode(batch.payload[start:end]), records.Row)
        for batch in batches
        for start, end in records.iterate(batch.payload)
    )


def test_ranks_that_logged_offline_are_reduced_together(tmp_path: Path, worker) -> None:
    steps = 30_000  # more than one rank may run ahead of the other
    for rank in range(2):  # one after the other, so that their times do not tell which steps belong together
        arguments = ["--rank", rank, "--world", 2, "--steps", steps, "--mode", "offline"]
        assert worker(*arguments).wait(60) == 0
    sync = subprocess.run(
        [sys.executable, "-m", "asynclogd", "sync", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert sync.returncode == 0, sync.stdout + sync.stderr
    expect_each_once(tmp_path / "p" / "run", "loss", {step: value(0, step) + 0.5 for step in range(steps)})


def synced(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asynclogd", "sync", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_directory_that_was_moved_is_delivered_where_it_is(tmp_path: Path, worker) -> None:
    assert worker("--steps", 200, "--mode", "offline").wait(60) == 0
    (tmp_path / "p").rename(tmp_path / "brought here")
    sync = synced(tmp_path / "brought here")
    assert sync.returncode == 0, sync.stdout + sync.stderr
    expect_each_once(tmp_path / "brought here" / "run", "loss", {step: value(0, step) for step in range(200)})
    assert not (tmp_path / "p").exists()


def test_what_was_logged_under_wrong_options_is_kept_and_delivered_with_right_ones(tmp_path: Path) -> None:
    run = asynclog.init("p", "r", dir=str(tmp_path), backends={"csv": {"fsync": "perhaps"}}, mode="offline")
    run.log({"loss": 1.5}, step=0)
    run.finish()
    for _ in range(2):
        sync = synced(tmp_path)
        assert sync.returncode == 1
        said = " ".join((sync.stdout + sync.stderr).split())
        assert "option 'fsync'" in said
        assert "--backend NAME" in said
        assert list((tmp_path / "p" / "r" / "spool").glob("*/*.spool"))
    sync = synced(tmp_path, "--backend", "csv")
    assert sync.returncode == 0, sync.stdout + sync.stderr
    assert csv_series(tmp_path / "p" / "r", "loss") == {0: [1.5]}


def test_ranks_that_one_parent_starts_twice_are_not_averaged_into_each_other(tmp_path: Path, worker) -> None:
    for attempt in range(2):
        first = 0 if attempt == 0 else 100
        ranks = [
            worker("--rank", rank, "--world", 2, "--steps", 50, "--first", first, "--offset", 10 * attempt)
            for rank in range(2)
        ]
        assert [rank.wait(60) for rank in ranks] == [0, 0]
    wanted = {step: value(0, step) + 0.5 for step in range(50)}
    wanted |= {step: value(0, step) + 10.5 for step in range(100, 150)}
    expect_each_once(tmp_path / "p" / "run", "loss", wanted)


def test_a_ring_that_fell_back_to_disk_is_found(tmp_path: Path, runtime_dir: Path) -> None:
    script = (
        "import asynclog, os, signal\n"
        f"run = asynclog.init('p', 'r', dir={str(tmp_path)!r})\n"
        "run.log({'loss': 1.5}, step=0)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    # A tmpfs of its own, too small for a ring, as containers have it.
    small = f"mount -t tmpfs -o size=1m,mode=700 none {runtime_dir} && exec {sys.executable} -W ignore -"
    subprocess.run(["unshare", "-rm", "sh", "-c", small], input=script, text=True, check=False)
    assert list((tmp_path / "p" / "r").glob("rings/*.ring"))
    sync = synced(tmp_path)
    assert sync.returncode == 0, sync.stdout + sync.stderr
    assert csv_series(tmp_path / "p" / "r", "loss") == {0: [1.5]}


def test_ranks_that_disagree_on_the_world_size_are_told(worker, output, tmp_path: Path, status, eventually) -> None:
    """Nothing is lost: the larger world counts, and the rank that does not exist costs its deadline."""
    environ = {
        "ASYNCLOG_DAEMON_JOIN_DEADLINE": "0.5",
        "ASYNCLOG_DAEMON_STEP_DEADLINE": "0.5",
        "ASYNCLOG_HOST_METRICS_ENABLED": "false",  # their values are in the run's ledger too
    }
    first = worker("--rank", 0, "--world", 2, "--steps", 50, "--period", 0.05, **environ)
    eventually(lambda: status() and status()[0]["runs"], 30, "the first rank is there")
    second = worker("--rank", 1, "--world", 3, "--steps", 50, **environ)
    assert [first.wait(60), second.wait(60)] == [0, 0]
    assert "rank 1 says world_size=3, but rank 0 of the same launch says 2" in output()
    assert "100 values: 100 journaled, 0 pending" in output()
