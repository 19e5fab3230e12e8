"""What bench/backends.py makes of what its processes measured, and that they measure."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def backends(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script's module; it imports its neighbours, as Python has it for scripts."""
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location("bench_backends", BENCH / "backends.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def test_ours_is_told_in_times_less_than_direct_use(backends: ModuleType) -> None:
    def row(who: str, steps_per_table: int, cpu: float, wall: float) -> dict[str, object]:
        about = {"backend": "mlflow", "who": who, "steps_per_table": steps_per_table}
        return {**about, "cpu_us": cpu, "wall_us": wall}

    rows = backends.compared([row("direct", 1, 100, 200), row("asynclog", 100, 10, 50), row("asynclog", 1, 80, 400)])
    assert [(each["cpu_gain"], each["wall_gain"]) for each in rows] == [(1, 1), (10, 4), (1.25, 0.5)]
    checks = [(each.measured, each.passed) for each in backends.checks_of(rows)]
    assert checks == [(10, True), (4, False), (1.25, False), (0.5, False)]
    assert backends.cells_of(rows)[1] == ["mlflow: asynclog", "100", "10", "50", "10.0x", "4.0x"]


@pytest.mark.parametrize("who", ["direct", "asynclog"])
def test_a_process_measures_its_contender(backends: ModuleType, who: str) -> None:
    row = backends.measured("csv", who, 200, 100)
    assert row["cpu_us"] > 0
    assert row["wall_us"] > 0
