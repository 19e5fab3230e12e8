"""bench/flushes.py, run as a user runs it, shortly, and what it makes of steps."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.bench.conftest import BENCH, Script

pytestmark = pytest.mark.torch


def test_steps_of_two_ranks_are_told_for_each_way_to_log() -> None:
    command = [sys.executable, str(BENCH / "flushes.py"), "--quick", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=110)
    noop, ours, each = json.loads(done.stdout)
    assert [row["way"] for row in (noop, ours, each)] == ["noop", "asynclog", "each"]
    assert noop["beside_us"] == each["beside_us"] == 0 < ours["beside_us"]
    assert noop["call_us"] < ours["call_us"] < each["call_us"] < each["step_us"]
    assert noop["whole_us"] == 0 < each["whole_us"]
    assert min(row["flushes"] for row in (noop, ours, each)) >= 2
    assert "the same, over an all_reduce a metric" in done.stderr  # whether it holds is no test's affair


def test_what_flushes_add_is_what_the_steps_take_longer_that_meet_the_first_moments_of_a_second(
    script: Script,
) -> None:
    process = script("flushes_process")
    steps, now = [], 5.003
    for _ in range(1_000):
        us = 7_000.0 if now % 1 < 0.01 else 5_000.0  # two steps, each second, that take 2 ms longer
        now += us / 1e6
        steps.append(process.Step(now, us, 1.0))
    late = [sum(step.us > 5_000 for step in steps if int(step.ended) == second) for second in range(6, 10)]
    assert min(late) > 0
    assert process.excesses(steps) == pytest.approx([2_000.0 * count for count in late])
    assert process.excesses(steps[:150]) == []
