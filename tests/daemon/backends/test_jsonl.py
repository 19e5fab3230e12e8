from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asynclogd.backends.base import Params, Rewind, RunEnd, RunInfo, Summary
from asynclogd.backends.jsonl import JsonlBackend, JsonlConfig
from asynclogd.testing import filled, table


def info(directory: Path) -> RunInfo:
    own = directory / "run-1" / "jsonl"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", "run-1", own.parent, own)


def written(run: RunInfo, *items, position=None):
    backend = JsonlBackend(JsonlConfig())
    backend.open(run, position)
    backend.write(items)
    position = backend.flush()
    backend.close("")
    return position


def lines(run: RunInfo) -> list[dict[str, Any]]:
    def no_constant(name: str):
        raise AssertionError(f"{name} is not JSON")

    text = (run.own_dir / "points.jsonl").read_text()
    return [json.loads(line, parse_constant=no_constant) for line in text.splitlines()]


def test_a_line_a_step_with_time_world_and_ranks(tmp_path: Path):
    run = info(tmp_path)
    written(run, filled(["loss", "lr"], [7], np.array([[0.5, 1e-3]])))
    assert lines(run) == [
        {"step": 7, "time": 1.7e9 + 0.7, "world": 2, "ranks": 2, "metrics": {"loss": 0.5, "lr": 0.001}}
    ]


def test_ranks_by_name_where_they_differ(tmp_path: Path):
    run, points = info(tmp_path), filled(["a", "b"], [0, 1], np.zeros((2, 2)))
    written(run, replace(points, ranks=np.array([[2, 2], [2, 1]], np.uint32)))
    assert [line["ranks"] for line in lines(run)] == [2, {"a": 2, "b": 1}]


def test_non_finite_numbers_are_words_that_float_reads(tmp_path: Path):
    run = info(tmp_path)
    nan = float("nan")
    written(run, filled(["a", "b", "c"], [0], np.array([[nan, np.inf, -np.inf]])), Params({"x": nan, "y": 1.0}))
    assert lines(run)[0]["metrics"] == {"a": "NaN", "b": "Infinity", "c": "-Infinity"}
    assert lines(run)[1] == {"params": {"x": "NaN", "y": 1.0}}
    assert float("-Infinity") == -np.inf


def test_the_other_lines(tmp_path: Path):
    run = info(tmp_path)
    items = [Params({"lr": 0.1, "on": True, "none": None}), Summary({"best": 1}), Rewind(3, 2), RunEnd("killed")]
    written(run, *items, table(["a"], [3], revision=True))
    found = lines(run)
    assert found[:4] == [
        {"params": {"lr": 0.1, "on": True, "none": None}},
        {"summary": {"best": 1}},
        {"rewind": 3, "generation": 2},
        {"end": "killed"},
    ]
    assert found[4]["revision"] is True


def test_pandas_reads_it(tmp_path: Path):
    pandas = pytest.importorskip("pandas")
    run, points = info(tmp_path), table(["a", "b/c"], range(50))
    written(run, points)
    frame = pandas.read_json(io.StringIO((run.own_dir / "points.jsonl").read_text()), lines=True)
    metrics = pandas.json_normalize(frame["metrics"].tolist())
    assert np.allclose(metrics[["a", "b/c"]].to_numpy(), points.values, rtol=1e-12)
    assert frame["step"].tolist() == list(range(50))
