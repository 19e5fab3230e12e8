"""The clock is moved by a day while a run goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.oracle import returned, value
from tests.faults.conftest import Whole

pytestmark = pytest.mark.timeout(120)

DAY = 86_400

MOVED = """
import os, time
_time, _file = time.time, os.environ["MOVED_CLOCK"]
def moved():
    try:
        return _time() + float(open(_file).read() or 0)
    except FileNotFoundError:
        return _time()
time.time = moved
"""
"""A sitecustomize: the wall clock of a process of Python is what a file says."""


@pytest.mark.fault("clock-moved")
def test_a_clock_that_jumps_delays_nothing_and_changes_no_order(
    worker: Start, tmp_path: Path, whole: Whole, eventually: Callable[..., None]
) -> None:
    site, file = tmp_path / "site", tmp_path / "moved"
    site.mkdir()
    (site / "sitecustomize.py").write_text(MOVED)
    paths = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    rank = worker("--steps", 3000, "--period", 0.001, PYTHONPATH=paths, MOVED_CLOCK=str(file))
    for number, move in enumerate((DAY, -DAY), 1):
        eventually(lambda number=number: returned(tmp_path / "returned-run-0") > 600 * number, 60, "steps")
        part = file.with_suffix(".part")
        part.write_text(str(move))
        part.replace(file)
    assert rank.wait(60) == 0
    whole({step: value(0, step) for step in range(3000)})


def test_the_clock_that_is_moved_here_is_that_of_the_processes(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(MOVED)
    (tmp_path / "moved").write_text(str(DAY))
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "MOVED_CLOCK": str(tmp_path / "moved")}
    code = "import time; print(time.time() - time.clock_gettime(time.CLOCK_REALTIME))"
    told = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=True)
    assert abs(float(told.stdout) - DAY) < 60
