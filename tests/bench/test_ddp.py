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
