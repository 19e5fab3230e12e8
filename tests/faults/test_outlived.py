"""A training that is started again while the one before lives on and logs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.balance import expect_balanced
from tests.e2e.conftest import Start
from tests.e2e.oracle import csv_series, value
from tests.faults.plugin import Tell

pytestmark = [pytest.mark.fault("outlived"), pytest.mark.timeout(120)]


def test_what_the_newer_training_has_logged_stands(
    worker: Start,
    tmp_path: Path,
    eventually: Callable[..., None],
    status: Callable[[], list[dict[str, Any]]],
    output: Callable[[], str],
    figures: Tell,
) -> None:
    """The old one goes through the same steps meanwhile, and beyond them; it is told how much of that was dropped."""
    stop = tmp_path / "stop"
    old = worker("--endless", "--until", stop, "--period", 0.001)

    def come_far() -> bool:
        return any(rank["step"] > 1000 for daemon in status() for run in daemon["runs"] for rank in run["ranks"])

    eventually(come_far, 60, "1,000 steps at the daemon")
    new = worker("--first", 500, "--steps", 5000, "--offset", 1000, "--period", 0.001)
    assert new.wait(60) == 0
    stop.touch()
    assert old.wait(60) == 0
    wanted = {step: value(0, step) for step in range(500)}
    wanted |= {step: value(0, step) + 1000 for step in range(500, 5500)}
    series = csv_series(tmp_path / "p" / "run", "loss")
    assert series == {step: [point] for step, point in wanted.items()}
    assert "dropped (superseded)" in output()
    lost = expect_balanced(tmp_path / "p" / "run", 5000 + 1000, extra=1 << 20, dropped=["superseded"])
    assert lost["superseded"] > 0
    figures(issued=len(wanted), lost=0, doubled=0)
