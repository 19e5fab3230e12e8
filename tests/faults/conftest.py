"""What whole processes need, as in tests/e2e; and a run's check that tells the matrix what it has found."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from tests.e2e.balance import expect_balanced
from tests.e2e.conftest import Start, output, puppets, start, status, tell_output_of_failures, worker
from tests.e2e.oracle import expect_each_once, expect_unblocked, value
from tests.faults.plugin import Tell
from tests.faults.preloaded import BreakingDisk, MovedClock, built

__all__ = ["output", "puppets", "start", "status", "tell_output_of_failures", "worker"]

Whole = Callable[..., None]


@pytest.fixture(scope="session")
def breaking_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """brokendisk.c, built."""
    return built("brokendisk.c", tmp_path_factory.mktemp("brokendisk"))


@pytest.fixture
def disk(breaking_library: Path, tmp_path: Path) -> BreakingDisk:
    """One that works, until it is told to break."""
    return BreakingDisk(breaking_library, tmp_path / "broken")


@pytest.fixture(scope="session")
def clock_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """movedclock.c, built."""
    return built("movedclock.c", tmp_path_factory.mktemp("movedclock"))


@pytest.fixture
def clock(clock_library: Path, tmp_path: Path) -> MovedClock:
    """One that is right, until it is set."""
    return MovedClock(clock_library, tmp_path / "moved")


@pytest.fixture
def probe(worker: Start, tmp_path: Path) -> Callable[[], None]:
    """`probe()`: what a rank logs from now on gets through, by the daemon that is there or one that it starts."""

    def check() -> None:
        assert worker("--name", "probe", "--steps", 100).wait(90) == 0
        expect_each_once(tmp_path / "p" / "probe", "loss", {step: value(0, step) for step in range(100)})
        expect_balanced(tmp_path / "p" / "probe", 100)

    return check


@pytest.fixture
def whole(figures: Tell, tmp_path: Path) -> Whole:
    """`whole(expected, extra=0, world=1, **figures)`: the workers' run holds its steps once each, as expect_each_once
    says; its ledger accounts for them, and log() was not blocked.
    """

    def check(expected: Mapping[int, float], extra: int = 0, world: int = 1, **more: float) -> None:
        expect_each_once(tmp_path / "p" / "run", "loss", dict(expected), extra)
        expect_balanced(tmp_path / "p" / "run", world * len(expected), extra)
        if (tmp_path / "times-run-0").exists():
            more["log_p999_us"] = expect_unblocked(tmp_path)
        figures(issued=world * len(expected), lost=0, doubled=0, **more)

    return check
