"""What bench/media.py makes of the times that its processes measured."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"


@pytest.fixture
def media(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script's module; it imports its neighbours, as Python has it for scripts."""
    monkeypatch.syspath_prepend(str(BENCH))
    spec = importlib.util.spec_from_file_location("bench_media", BENCH / "media.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


def rows(media: ModuleType, **times_us: dict[str, int]) -> list[dict[str, Any]]:
    made = []
    for contender, kinds in times_us.items():
        made += media.rows_of(contender, 0, {kind: [1000 * time] * 3 for kind, time in kinds.items()})
    compared: list[dict[str, Any]] = media.compared(made)
    return compared


def test_each_is_told_in_copies_and_as_a_share_of_summarywriter(media: ModuleType) -> None:
    copy, ours, peer = rows(media, copy={"image": 100}, asynclog={"image": 150}, summarywriter={"image": 6000})
    assert (copy["copies"], ours["copies"], peer["copies"]) == (1, 1.5, 60)
    assert ours["summarywriter_share"] == 0.025


def test_the_promises_are_checked_with_and_without_summarywriter(media: ModuleType) -> None:
    kinds = {"image": 100, "audio": 100}
    checks = media.checks_of(rows(media, copy=kinds, asynclog={"image": 150, "audio": 250}, summarywriter=kinds))
    assert [(check.promise.split(":")[0], check.passed) for check in checks] == [
        ("image", True), ("audio", False), ("image", False),
    ]  # fmt: skip
    assert len(media.checks_of(rows(media, copy=kinds, asynclog=kinds))) == 2


def test_a_kind_that_a_contender_lacks_is_a_dash(media: ModuleType) -> None:
    cells = media.cells_of(rows(media, copy={"image": 100, "audio": 10}, mlflow={"image": 300}))
    assert cells[1] == ["mlflow", "300 (3.0x)", "-", "-", "-"]
