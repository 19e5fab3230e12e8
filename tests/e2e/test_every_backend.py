"""Two ranks and every backend at once: each holds the reduced series, the parameters, a picture and a text, by its
product's own reader, and does with NaN, infinities, late values and a run that is resumed what docs/backends.md says.
"""

from __future__ import annotations

import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

import asynclog
from asynclogd import registry
from asynclogd.backends.base import RunInfo
from asynclogd.contractbase import ContractBase
from tests.e2e import variety
from tests.e2e.readback import HELD, READERS

REPLACING = frozenset({"csv", "parquet", "swanlab", "trackio"})
"""A late value takes the place of the one before; elsewhere both are there, and the later one counts."""

KEEPING = frozenset({"mlflow"})
"""Superseded points stay, before those that supersede them."""

TEXTS_ONLY = frozenset({"mlflow"})
"""Parameters are texts."""


@pytest.mark.sdk
@pytest.mark.mlflow
@pytest.mark.timeout(240)  # the daemon imports six SDKs
def test_two_ranks_come_out_alike_in_every_backend(start, tmp_path: Path) -> None:
    assert sorted(READERS) == sorted(HELD) == registry.names()
    script = Path(variety.__file__)
    quiet = {"ASYNCLOG_HOST_METRICS_ENABLED": "false"}
    ranks = [start(sys.executable, script, tmp_path, rank, ",".join(READERS), **quiet) for rank in range(2)]
    for rank in ranks:
        assert rank.wait(150) == 0
    run_dir = tmp_path / "p" / "run"
    for name, reader in READERS.items():
        run = RunInfo("p", "run", run_dir, run_dir / name, 2)
        assert _points(reader, run) == _expected(reader, replaces=name in REPLACING), name
        held = HELD[name](run)
        assert held.picture == (variety.PICTURE_STEP, variety.PICTURE.tobytes()), name
        assert held.note == (variety.NOTE_STEP, variety.NOTE), name
        assert _wanted(held.params) == (_as_texts(variety.PARAMS) if name in TEXTS_ONLY else variety.PARAMS), name
    first = variety.STEPS - 10
    with asynclog.init("p", dir=str(tmp_path), resume="run") as resumed:
        for step in range(first, first + 20):
            resumed.log({"loss": 1000.0 + step}, step=step)
        assert resumed.finish(timeout=100).complete
    for name, reader in READERS.items():
        found = _points(reader, RunInfo("p", "run", run_dir, run_dir / name, 2))
        assert found["loss"] == _resumed(first, keeps=name in KEEPING), name


def _resumed(first: int, *, keeps: bool) -> dict[int, list[str]]:
    before = {step: [repr(value)] for step, value in variety.expected()["loss"].items() if keeps or step < first}
    again = {step: [*before.get(step, []), repr(1000.0 + step)] for step in range(first, first + 20)}
    return before | again


def _points(reader: ContractBase, run: RunInfo) -> dict[str, dict[int, list[str]]]:
    """Values as Python spells them, for a NaN is not itself."""
    found: dict[str, dict[int, list[str]]] = defaultdict(lambda: defaultdict(list))
    for series, step, number in reader.read(run):
        found[series][step].append(repr(float(number)))
    return {name: dict(steps) for name, steps in found.items()}


def _expected(reader: ContractBase, *, replaces: bool) -> dict[str, dict[int, list[str]]]:
    found = {
        name: {step: [repr(reader.stored(value))] for step, value in steps.items()}
        for name, steps in variety.expected().items()
    }
    if not replaces:
        found["late"][variety.LATE_STEP].insert(0, repr(variety.LATE_FIRST))
    return found


def _wanted(params: Any) -> dict[str, Any]:
    """Those that were logged, flat: some products have names nest at the slash."""
    flat = {
        f"{key}/{name}": each
        for key, nested in params.items()
        if isinstance(nested, dict)
        for name, each in nested.items()
    }
    return {name: value for name, value in {**params, **flat}.items() if name in variety.PARAMS}


def _as_texts(params: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in params.items()}
