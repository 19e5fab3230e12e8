"""Messages that come twice and in another order."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.conftest import Start
from tests.e2e.oracle import value
from tests.faults.conftest import Whole
from tests.faults.repeater import repeating

pytestmark = pytest.mark.timeout(120)


@pytest.mark.fault("frames-repeated")
def test_batches_that_come_twice_and_in_another_order_are_taken_once_in_order(
    start: Start, worker: Start, runtime_dir: Path, whole: Whole, eventually: Callable[..., None]
) -> None:
    seed = random.randrange(1 << 32)
    start(sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics")
    eventually((runtime_dir / "daemon.sock").exists, what="the daemon")
    with repeating(runtime_dir, seed) as repeater:
        rank = worker("--steps", 3000, "--period", 0.001, ASYNCLOG_ENDPOINT=repeater.endpoint)
        assert rank.wait(90) == 0
    assert repeater.done["twice"] > 3
    assert repeater.done["late"] > 3
    whole({step: value(0, step) for step in range(3000)}, seed=seed)
