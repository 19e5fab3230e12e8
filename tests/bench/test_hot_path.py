"""bench/hot_path.py, run as a user runs it, with sizes that measure nothing."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.bench.conftest import Script

SCRIPT = Path(__file__).resolve().parents[2] / "bench" / "hot_path.py"
TINY = ["--turns", "2", "--calls", "5", "--rows", "30", "--repeats", "1", "--names", "10"]


def measured(*only: str) -> tuple[list[dict[str, Any]], str]:
    options = [part for name in only for part in ("--only", name)]
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *options, *TINY, "--json", "-"],
        capture_output=True, text=True, check=True, timeout=100,
    )  # fmt: skip
    return json.loads(done.stdout), done.stderr


def check_rows(rows: list[dict[str, Any]], name: str, names: list[int]) -> None:
    mine = [row for row in rows if row["contender"] == name]
    (paced,) = (row for row in mine if row["mode"] == "paced")
    assert paced["calls"] == 10
    assert 0 <= paced["p50_us"] <= paced["p99_us"] <= paced["p999_us"] <= paced["max_us"]
    assert paced["cpu_us_per_call"] >= 0
    (durable,) = (row for row in mine if row["mode"] == "back_to_back")
    assert durable["until_durable_us_per_row"] > 0
    assert math.isfinite(durable["cpu_us_per_row"])  # a difference, which may come out below nothing
    wide = [row for row in mine if row["mode"] == "names"]
    assert [row["names"] for row in wide] == names
    assert all(row["ns_per_value"] > 0 for row in wide)


def names_row(names: int, cost: float) -> dict[str, Any]:
    return {"mode": "names", "contender": "asynclog", "names": names, "ns_per_value": cost}


def test_a_value_that_costs_more_in_a_wider_row_fails_and_its_width_is_told(script: Script) -> None:
    growth = script("hot_path_report")._growth
    falling = [names_row(10, 40.0), names_row(1_000, 6.0), names_row(10_000, 5.0)]
    (falls,) = (check for check in growth(falling) if "narrower" in check.promise)
    assert falls.passed
    (rises,) = (check for check in growth([*falling, names_row(100_000, 7.5)]) if "narrower" in check.promise)
    assert (rises.measured, rises.passed) == (1.5, False)
    assert "100,000 names" in rises.promise


def test_a_bad_turn_moves_no_quantile_but_the_longest_call_is_told(script: Script) -> None:
    quantiles = script("hot_path").quantiles_of_turns([[1_000] * 9, [2_000] * 9, [90_000] * 9])
    assert quantiles == {"p50_us": 2.0, "p99_us": 2.0, "p999_us": 2.0, "max_us": 90.0}


def test_floors_have_the_promised_keys_and_standard_output_is_json_alone():
    rows, table = measured("empty", "walk", "msgpack")
    check_rows(rows, "empty", [])
    assert [(row["mode"], row["names"]) for row in rows if row["contender"] == "walk"] == [("names", 1), ("names", 10)]
    check_rows(rows, "msgpack", [1, 10])
    assert "msgpack encode + copy" in table


@pytest.mark.torch
def test_a_peer_is_measured_by_the_same_calls():
    pytest.importorskip("torch")
    rows, _ = measured("empty", "summarywriter")
    (durable,) = (row for row in rows if row["contender"] == "summarywriter" and row["mode"] == "back_to_back")
    assert durable["rows"] == 5


def test_asynclog_is_measured_and_its_growth_is_not_judged_by_narrow_rows():
    rows, table = measured("empty", "msgpack", "asynclog")
    check_rows(rows, "asynclog", [1, 10])
    assert "left out" not in table
    assert "a value in a wide row" not in table
