"""Benchmarks are scripts: their modules as Python has them when one runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"

Script = Callable[[str], ModuleType]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> Script:
    """A script's module by its name; it imports its neighbours."""
    monkeypatch.syspath_prepend(str(BENCH))
    return importlib.import_module
