"""Trainings in processes of their own, and readers of what they left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent

Lines = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def quiet_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No model hub is asked; and what a test began ends with it, while its daemon is there."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("ASYNCLOG_HOST_METRICS_ENABLED", "false")  # a training of ten seconds would have system/*
    yield
    from asynclog.process import RUNS

    RUNS.finish_all("success", 10.0)


@pytest.fixture
def script(tmp_path: Path) -> Callable[..., str]:
    """`script(*command)`: run Python on it in tmp_path; stderr, without the frameworks' own lines."""

    def run(*command: object, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, *map(str, command)], cwd=tmp_path, capture_output=True, text=True, check=False,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        assert done.returncode == code, done.stdout + done.stderr
        return done.stderr

    return run


def lines(run_dir: Path) -> Lines:
    """All that jsonl holds of a run."""
    return [json.loads(line) for line in (run_dir / "jsonl" / "points.jsonl").read_text().splitlines()]


def series(run_dir: Path, name: str) -> list[tuple[int, float]]:
    """(step, value) of a series in jsonl, in their order; none superseded."""
    found: list[tuple[int, float]] = []
    for line in lines(run_dir):
        if "rewind" in line:
            found = [(step, value) for step, value in found if step < line["rewind"]]
        elif name in line.get("metrics", {}):
            found.append((line["step"], float(line["metrics"][name])))
    return found


def ends(run_dir: Path) -> list[str]:
    """The statuses that the run has ended with."""
    return [line["end"] for line in lines(run_dir) if "end" in line]


def tags(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Every scalar in the event files of a folder, as TensorBoard's loader reads them; but the host's own."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder), size_guidance={"scalars": 0}, purge_orphaned_data=False)
    accumulator.Reload()
    return {
        tag: [(event.step, event.value) for event in accumulator.Scalars(tag)]
        for tag in accumulator.Tags()["scalars"]
        if not tag.startswith("system/")
    }


def only(folder: Path) -> Path:
    """The one directory in `folder`."""
    (path,) = (each for each in folder.iterdir() if each.is_dir())
    return path
