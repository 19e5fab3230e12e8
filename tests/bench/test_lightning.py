"""bench/lightning.py: what it makes of its figures."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest

from tests.bench.conftest import Script


@pytest.fixture
def steps(script: Script) -> ModuleType:
    return script("trainer_steps")


def row(
    contender: str, added: float, error: float, call: float, *, ranks: int = 1, sync: bool = False
) -> dict[str, Any]:
    return {
        "ranks": ranks,
        "contender": contender,
        "sync_dist": sync,
        "added_us": added,
        "added_error_us": error,
        "call_us": call,
    }


def test_what_the_clock_cannot_tell_from_nothing_counts_as_its_error(steps: ModuleType) -> None:
    rows = [row("csv", 400.0, 99.0, 200.0), row("tensorboard", 1500.0, 99.0, 900.0)]
    found = [check.measured for check in steps.checks([*rows, row("asynclog", -20.0, 40.0, 30.0)])]
    assert found == [pytest.approx(0.1), pytest.approx(0.15)]
    found = [check.measured for check in steps.checks([*rows, row("asynclog", 120.0, 40.0, 30.0)])]
    assert found == [pytest.approx(0.3), pytest.approx(0.15)]


def test_a_peer_that_the_clock_does_not_see_shows_nothing(steps: ModuleType) -> None:
    by_clock, in_the_call = steps.checks([row("csv", -5.0, 99.0, 200.0), row("asynclog", -20.0, 40.0, 30.0)])
    assert not by_clock.passed
    assert in_the_call.passed


def test_the_reduction_is_held_against_what_sync_dist_adds(steps: ModuleType) -> None:
    ours = row("asynclog", 500.0, 100.0, 30.0, ranks=2)
    (check,) = steps.checks([ours, row("none", 20_000.0, 900.0, 0.0, ranks=2, sync=True)])
    assert (check.measured, check.passed) == (pytest.approx(1 / 40), True)
    (check,) = steps.checks([ours, row("none", 5_000.0, 900.0, 0.0, ranks=2, sync=True)])
    assert not check.passed
