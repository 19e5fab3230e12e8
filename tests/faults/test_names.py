"""Names and values that nobody thought of, through a whole run."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclog_proto.limits import MAX_NAME_BYTES
from tests.e2e.balance import expect_balanced
from tests.faults.plugin import Tell
from tests.faults.probe import expect_to_get_through

NAMES = [
    "größe", "損失", "a/b/c", "..", "../../escape", "/etc/passwd", "a\nb", 'quote"d', "comma,ed", "=1+1", " ", "CON",
    "a" * 500, "b" * MAX_NAME_BYTES, "nul\0inside", "\0", "a\\b",
    "a\u202eb", "😀", "%2e%2e", "loss", "Loss", "step", "-", "{}", "é", "e\u0301",
]  # fmt: skip
TOO_LONG = {
    "c" * 1025: "takes 1025 bytes",
    "é" * 513: "takes 1026 bytes",
    "d" * 65_536: "takes 65536 bytes",
    "": "is empty",
}
VALUES = [
    math.nan, math.inf, -math.inf, -0.0, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, 2.0**53, True,
    0.1, 1,
]  # fmt: skip


@pytest.mark.fault("names-odd")
def test_each_name_is_a_series_of_its_own_and_no_path(tmp_path: Path, runtime_dir: Path, figures: Tell) -> None:
    out = tmp_path / "out"
    with asynclog.init("p", "run", dir=str(out), backends=["csv", "jsonl", "tensorboard"]) as run:
        for step in range(3):
            run.log({name: float(number) for number, name in enumerate(NAMES)}, step=step)
    with (out / "p" / "run" / "csv" / "metrics.csv").open(newline="") as file:
        text = file.read().replace("\0", "<NUL>")  # which Python 3.10's reader refuses
    columns = set(next(csv.reader(io.StringIO(text, newline=""))))
    assert columns > {name.replace("\0", "<NUL>") for name in NAMES} - {"step"}
    points = (out / "p" / "run" / "jsonl" / "points.jsonl").read_text().splitlines()
    rows = [row["metrics"] for row in map(json.loads, points) if "metrics" in row]
    named = [{name: value for name, value in row.items() if name in NAMES} for row in rows]
    assert [row for row in named if row] == [{name: float(number) for number, name in enumerate(NAMES)}] * 3
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    expect_balanced(out / "p" / "run", 3 * len(NAMES))
    expect_to_get_through(runtime_dir, out)
    figures(issued=3 * len(NAMES), lost=0, doubled=0)


@pytest.mark.fault("names-odd")
@pytest.mark.parametrize(("name", "why"), TOO_LONG.items(), ids=TOO_LONG.values())
def test_a_name_that_is_too_long_or_empty_is_told_once_and_costs_no_other_value(
    name: str, why: str, tmp_path: Path, runtime_dir: Path
) -> None:
    run = asynclog.init("p", "run", dir=str(tmp_path), backends=["jsonl"])
    with pytest.warns(asynclog.AsynclogWarning, match=why) as told:
        run.log({"x": 0.0, name: 1.0}, step=0)
    assert [len(str(each.message)) < 500 for each in told] == [True]
    for step in (1, 2):
        run.log({"x": float(step), name: 1.0}, step=step)  # a second warning would be an error
    ledger = run.finish()
    assert ledger.complete
    assert (ledger.issued, ledger.dropped) == (6, {"bad_name": 3})
    assert points_of(tmp_path) == {step: float(step) for step in range(3)}
    expect_to_get_through(runtime_dir, tmp_path)


@pytest.mark.fault("names-odd")
def test_names_without_number_are_all_there(tmp_path: Path, runtime_dir: Path, figures: Tell) -> None:
    names = [f"layer/{number}" for number in range(100_000)]
    with asynclog.init("p", "run", dir=str(tmp_path), backends=["tensorboard"]) as run:
        run.log(dict.fromkeys(names, 1.0), step=0)
        ledger = run.finish(timeout=60)
    assert ledger.complete
    assert ledger.journaled == ledger.issued >= 100_000
    assert ledger.backends["tensorboard"].delivered == ledger.issued
    expect_to_get_through(runtime_dir, tmp_path)
    figures(issued=100_000, lost=0, doubled=0)


def points_of(directory: Path) -> dict[int, Any]:
    """The points of `x`, by step, as points.jsonl has them."""
    rows = map(json.loads, (directory / "p" / "run" / "jsonl" / "points.jsonl").read_text().splitlines())
    return {row["step"]: row["metrics"]["x"] for row in rows if "x" in row.get("metrics", {})}


@pytest.mark.fault("values-odd")
def test_each_value_is_kept_bit_by_bit(tmp_path: Path, figures: Tell) -> None:
    with asynclog.init("p", "run", dir=str(tmp_path), backends=["jsonl"]) as run:
        for step, value in enumerate(VALUES):
            run.log({"x": value}, step=step)
    got = points_of(tmp_path)
    assert [float(got[step]).hex() for step in range(len(VALUES))] == [float(value).hex() for value in VALUES]
    figures(issued=len(VALUES), lost=0, doubled=0)


@pytest.mark.fault("values-odd")
def test_an_integer_that_no_float_holds_is_the_nearest_and_that_is_said(tmp_path: Path) -> None:
    run = asynclog.init("p", "run", dir=str(tmp_path), backends=["jsonl"])
    with pytest.warns(asynclog.AsynclogWarning, match=re.escape("beyond 2**53: the nearest float64 is kept")):
        run.log({"x": 2**53 + 1}, step=0)
    run.finish()
    assert points_of(tmp_path) == {0: 2.0**53}
