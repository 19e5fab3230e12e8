"""bench/ingest.py, bench/ranks.py, bench/memory.py, bench/fanout.py and bench/tensorboard.py, run as a user runs them,
shortly.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.conftest import BENCH, Script


def measured(script: str, *options: str) -> list[dict[str, Any]]:
    command = [sys.executable, str(BENCH / script), "--quick", "--json", "-", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=100)
    rows: list[dict[str, Any]] = json.loads(done.stdout)
    return rows


def test_ingest_gives_the_promised_keys_for_10_and_1000_names() -> None:
    rows = measured("ingest.py")
    assert {10, 1000} <= {row["names"] for row in rows}
    for row in rows:
        assert row["ranks"] == 8
        assert row["scalars_per_cpu_s"] > 0
        speeds = (row["journal_mb_s"], row["plain_mb_s"])
        assert min(speeds) > 0 if row["journal"] else speeds == (None, None)


def test_a_step_of_many_ranks_is_asked_for_and_closes_with_all_of_them() -> None:
    rows = measured("ranks.py")
    assert [row["ranks"] for row in rows] == [128, 256]
    for row in rows:
        assert row["whole_steps"] == row["steps"]
        assert 0 < row["closed_ms"] <= row["worst_ms"]
        assert row["cpu_us"] > 0


def test_memory_is_read_at_six_points_of_a_run_that_is_delivered_whole() -> None:
    (row,) = measured("memory.py")
    assert row["scalars"] == row["ranks"] * row["names"] * row["steps"] > 0
    assert len(row["rss_mb"]) == 6
    assert 0 < max(row["rss_mb"]) <= row["peak_mb"]


def test_fanout_holds_the_others_lag_to_what_it_is_without_a_slow_one_in_the_99th_percentile_too(
    script: Script,
) -> None:
    fanout = script("fanout")

    def row(contender: str, backend: str, median: float, p99: float) -> dict[str, Any]:
        about = {"contender": contender, "backend": backend, "steps": 9, "delivered": 9}
        return {**about, "median_ms": median, "p99_ms": p99}

    without = [row("quick", name, 10.0, 20.0) for name in fanout.OTHERS]
    beside = [row("slow", name, 10.0, p99) for name, p99 in zip(fanout.OTHERS, (20.0, 21.0, 30.0), strict=True)]
    found = [(each.measured, each.passed) for each in fanout.checks([*without, *beside])]
    assert found == [(1.0, True), (1.0, True), (1.05, True), (1.5, False), (0, True)]


def test_fanout_delivers_everything_to_all_four_whichever_is_slow() -> None:
    rows = measured("fanout.py")
    places = {(row["contender"], row["backend"]) for row in rows}
    assert places == {(each, name) for each in ("quick", "slow") for name in ("csv", "jsonl", "tensorboard", "fourth")}
    for row in rows:
        assert row["delivered"] == row["steps"]


@pytest.mark.torch
def test_tensorboard_is_measured_beside_summarywriter_and_a_floor(script: Script) -> None:
    pytest.importorskip("torch")
    rows = measured("tensorboard.py")
    cost = {(row["contender"], row["names"], row["steps_per_table"]): row["cpu_us_per_scalar"] for row in rows}
    assert {"asynclog", "SummaryWriter"} <= {contender for contender, _, _ in cost}
    floor = script("event_files").FLOOR
    assert all(cost[floor, names, 100] > 0 for names in (10, 1000))


def test_what_one_waits_for_is_measured(script: Script, tmp_path: Path) -> None:
    waits = script("waits")
    assert waits.start_ms("asynclog", str(tmp_path)) > 0
    assert all(lag > 0 for lag in waits.lags_ms(2))
    daemon, rank = waits.idle_shares(1, 0.2, 2)
    assert len(daemon) == len(rank) == 2
    assert all(0 <= share < 2 for share in (*daemon, *rank))


def test_the_lag_is_the_median_of_the_turns_not_of_all_points(script: Script, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = script("waits")
    turns = [[1.0] * 9, [5.0], [6.0]]
    monkeypatch.setattr(waits, "lags_ms", lambda _count, turn: turns[turn])
    row = waits._lagged(3, 1)
    assert (row["median"], row["worst"]) == (5.0, 5.0)
