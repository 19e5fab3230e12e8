"""Steps in any order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import asynclog
from tests.e2e.oracle import csv_series, tensorboard_series, value
from tests.faults.plugin import Tell


@pytest.mark.fault("steps-late")
def test_steps_out_of_order_are_each_there_once(tmp_path: Path, figures: Tell) -> None:
    seed = random.randrange(1 << 32)
    steps = list(range(500))
    random.Random(seed).shuffle(steps)
    run = asynclog.init("p", "run", dir=str(tmp_path), backends=["csv", "tensorboard"])
    first_back = next(at for at in range(1, 500) if steps[at] < steps[at - 1])
    for at, step in enumerate(steps):
        if at == first_back:
            with pytest.warns(asynclog.AsynclogWarning, match="it is kept, as a late value of its step"):
                run.log({"loss": value(0, step)}, step=step)
        else:
            run.log({"loss": value(0, step)}, step=step)
    backward = run.stats.backward_steps
    ledger = run.finish()
    assert backward > 0
    assert ledger.complete
    wanted = {step: [value(0, step)] for step in range(500)}
    assert csv_series(tmp_path / "p" / "run", "loss") == wanted
    assert tensorboard_series(tmp_path / "p" / "run", "loss") == wanted
    figures(issued=500, lost=0, doubled=0, seed=seed)
