"""Bits flip in a run's journal, or its end is cut off: the rest is there, and what is lost is counted and named."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.conftest import has_ended
from tests.e2e.conftest import Start
from tests.e2e.daemons import daemon_pid
from tests.e2e.oracle import csv_series, expect_each_once, returned, value
from tests.e2e.stored import jsonl_points
from tests.faults.plugin import Tell

pytestmark = [pytest.mark.timeout(120), pytest.mark.fault("files-damaged")]

Eventually = Callable[..., None]

STEPS = 2000


def asynclog(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "asynclogd", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def flip(file: Path, *forms: str, step: int) -> None:
    """A bit of a step's value, wherever it lies in one of these forms of struct: little-endian in an item's table,
    big-endian in a rank's records.
    """
    content = bytearray(file.read_bytes())
    for form in forms:
        at = content.find(struct.pack(form, value(0, step)))
        assert at >= 0
        content[at + 3] ^= 1
    file.write_bytes(content)


@pytest.fixture
def run(worker: Start, tmp_path: Path, eventually: Eventually) -> Path:
    """The directory of a run of which no process is left."""
    assert worker("--steps", STEPS, "--period", 0.001).wait(60) == 0
    asynclog("stop")
    log = tmp_path / "p" / "run" / "journal.sqlite-wal"
    eventually(lambda: not log.exists(), 30, "nobody has the journal open")
    return log.parent


def jsonl(run: Path) -> dict[int, list[float]]:
    series: dict[int, list[float]] = defaultdict(list)
    for name, step, number in jsonl_points(run / "jsonl" / "points.jsonl"):
        if name == "loss":
            series[step].append(number)
    return series


def test_items_with_flipped_bits_are_made_anew(run: Path, tmp_path: Path, figures: Tell) -> None:
    for step in (201, 501, 801):
        flip(run / "journal.sqlite", "<d", step=step)
    replayed = asynclog("replay", run, "--to", "jsonl")
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert "made anew from the inputs, nothing is lost" in " ".join(replayed.stderr.split())
    assert jsonl(run) == {step: [value(0, step)] for step in range(STEPS)}
    assert asynclog("export", run, "--format", "csv", "--out", tmp_path / "out").returncode == 0
    figures(issued=STEPS, lost=0, doubled=0)


def test_inputs_with_flipped_bits_cost_nothing_where_a_snapshot_stands_after_them(
    run: Path, worker: Start, figures: Tell
) -> None:
    for step in (201, 501, 801):
        flip(run / "journal.sqlite", ">d", step=step)
    assert asynclog("replay", run, "--to", "jsonl").returncode == 0
    assert jsonl(run) == {step: [value(0, step)] for step in range(STEPS)}
    more = worker("--first", STEPS, "--steps", 10)
    assert more.wait(60) == 0
    expect_each_once(run, "loss", {step: value(0, step) for step in range(STEPS + 10)})
    figures(issued=STEPS + 10, lost=0, doubled=0)


def test_what_is_spoiled_twice_is_counted_and_named_and_the_rest_is_delivered(run: Path) -> None:
    flip(run / "journal.sqlite", "<d", ">d", step=501)
    replayed = asynclog("replay", run, "--to", "jsonl")
    told = " ".join((replayed.stdout + replayed.stderr).split())
    found = jsonl(run)
    assert all(values == [value(0, step)] for step, values in found.items())
    lost = STEPS - len(found)
    assert 0 < lost < STEPS, told
    assert "1 items are spoiled" in told
    assert f"{lost} values, are lost" in told
    report = json.loads(asynclog("show", run, "--json").stdout)
    assert report["ledger"]["backends"]["jsonl"]["dead"] == lost
    assert report["ledger"]["backends"]["jsonl"]["pending"] == 0


def test_a_log_that_is_cut_by_a_flipped_bit_costs_what_came_after_it_and_that_is_counted(
    worker: Start, tmp_path: Path, runtime_dir: Path, eventually: Eventually
) -> None:
    """The newest commits of a killed daemon lie in SQLite's log, each frame of which has a checksum over all before."""
    rank = worker("--steps", 5000, "--period", 0.001)
    eventually(lambda: returned(tmp_path / "returned-run-0") > 1500, 60, "it logs")
    daemon = psutil.Process(daemon_pid(runtime_dir))
    daemon.kill()
    rank.kill()
    rank.wait()
    eventually(lambda: has_ended(daemon), 30, "the daemon is dead")
    steps = returned(tmp_path / "returned-run-0") + 1
    run = tmp_path / "p" / "run"
    log = run / "journal.sqlite-wal"
    content = bytearray(log.read_bytes())
    content[len(content) * 3 // 4] ^= 1
    log.write_bytes(content)
    synced = asynclog("sync", tmp_path)
    assert synced.returncode == 0, synced.stdout + synced.stderr
    account = json.loads(asynclog("show", run, "--json").stdout)["ledger"]
    found = csv_series(run, "loss")
    assert all(values == [value(0, step)] for step, values in found.items())
    assert account["journaled"] - account["host"] == len(found)  # the host's metrics come when they come
    assert account["in_transit"] == 0
    assert account["dropped"]["lost"] == account["issued"] - account["journaled"] > 0
    assert account["issued"] - account["host"] <= steps + 1, "less, where the rank had not said lately how far it was"
