"""Many faults in a row: twenty kills of the daemon, and a bit of everything. `make soak` goes on for longer."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.faults.plugin import Tell
from tests.faults.soak import KINDS, soaking

pytestmark = pytest.mark.timeout(240)


@pytest.mark.parametrize(
    ("kinds", "number"),
    [
        pytest.param(("kill_daemon",), 20, marks=pytest.mark.fault("daemon-killed")),
        pytest.param(KINDS, 10, marks=pytest.mark.fault("soak")),
    ],
)
def test_after_many_faults_each_run_has_each_step_once_and_nothing_has_grown(
    kinds: tuple[str, ...], number: int, tmp_path: Path, runtime_dir: Path, figures: Tell
) -> None:
    seed = random.randrange(1 << 32)
    with soaking(tmp_path, runtime_dir, seed) as soak:
        while soak.faults.total() < number:
            soak.strike(kinds)
        figures(**soak.settle(), seed=seed)
