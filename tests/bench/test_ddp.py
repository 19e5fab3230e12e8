"""bench/ddp.py, run as a user runs it, shortly, and what it makes of blocks of steps."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.bench.conftest import BENCH, Script

pytestmark = pytest.mark.torch


def test_every_way_to_log_is_measured_in_one_training_of_two_ranks() -> None:
    command = [sys.executable, str(BENCH / "ddp.py"), "--quick", "--rounds", "1", "--steps", "30", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=150)
    rows = json.loads(done.stdout)
    even = {row["way"]: row for row in rows if not row["uneven"]}
    assert set(even) == {"noop", "asynclog", "alone", "packed", "each"}
    assert {row["way"] for row in rows if row["uneven"]} == {"noop", "asynclog", "alone", "packed"}
    for row in rows:
        assert (row["ranks"], row["metrics"]) == (2, 20)
        assert 0 < row["call_us"] <= row["call_p99_us"]
        assert row["step_us"] > row["call_us"]
        assert row["added_error_us"] == 0  # of one block
    assert even["asynclog"]["beside_us"] > 0
    assert "PASS  in the call, over an all_reduce a metric" in done.stderr
    assert "asynclog comes to add more than a packed all_reduce: 2 ranks: " in done.stderr


def test_a_block_is_compared_with_the_two_around_it(script: Script) -> None:
    process = script("ddp_process")
    told = [
        ("none", 1.0, 0.0, 0.5, []), ("packed", 5.0, 4.0, 3.5, [2000]), ("none", 3.0, 2.0, 1.5, []),
        ("noop", 9.0, 9.0, 9.0, []), ("none", 9.0, 9.0, 9.0, []),
    ]  # fmt: skip
    found = process.around([process.Block(*block) for block in told], "packed")
    assert found == {
        "step_us": [5.0], "without_us": [2.0], "rank_us": [3.0], "daemon_us": [2.5], "calls_us": [2.0],
    }  # fmt: skip


def told(ranks: int, added: dict[int, tuple[float, float]], error: float = 10.0) -> list[dict[str, object]]:
    """Rows of asynclog and of packed all_reduces by metrics."""
    return [
        {"ranks": ranks, "metrics": metrics, "uneven": False, "way": way, "added_us": us, "added_error_us": error}
        for metrics, both in added.items()
        for way, us in zip(("asynclog", "packed"), both, strict=True)
    ]


def test_the_crossover_lies_between_sizes_that_the_clock_can_tell_apart(script: Script) -> None:
    crossover = script("ddp").crossover
    rows = told(2, {10000: (900.0, 300.0), 20: (50.0, 500.0), 100: (60.0, 500.0)})
    assert crossover(rows, 2) == "2 ranks: between 100 and 10,000 metrics"
    undecided = told(2, {1000: (500.0, 520.0)})
    assert crossover([*rows, *undecided], 2) == "2 ranks: between 100 and 10,000 metrics"
    assert crossover(told(4, {20: (50.0, 500.0)}), 4) == "4 ranks: above 20 metrics"
    assert crossover(told(4, {20: (500.0, 50.0)}), 4) == "4 ranks: below 20 metrics"
    assert crossover(undecided, 2) == "2 ranks: not told"


def test_all_numbers_of_ranks_are_in_one_line(script: Script) -> None:
    rows = [*told(4, {20: (50.0, 500.0)}), *told(2, {20: (500.0, 50.0)})]
    line = "asynclog comes to add more than a packed all_reduce: 2 ranks: below 20 metrics; 4 ranks: above 20 metrics."
    assert script("ddp").crossovers(rows) == line
