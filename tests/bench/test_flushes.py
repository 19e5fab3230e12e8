"""bench/flushes.py, run as a user runs it, shortly, and what it makes of steps."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys

import pytest

from tests.bench.conftest import BENCH, Script

pytestmark = pytest.mark.torch


def test_steps_of_two_ranks_are_told_for_each_way_to_log() -> None:
    command = [sys.executable, str(BENCH / "flushes.py"), "--quick", "--json", "-"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=110)
    rows = json.loads(done.stdout)
    assert [row["way"] for row in rows] == ["noop", "asynclog", "least", "each"]
    noop, ours, least, each = rows
    assert noop["beside_us"] == each["beside_us"] == 0 < min(ours["beside_us"], least["beside_us"])
    assert noop["call_us"] < min(ours["call_us"], least["call_us"])
    assert max(ours["call_us"], least["call_us"]) < each["call_us"] < each["step_us"]
    assert noop["whole_us"] == 0
    assert min(row["flushes"] for row in rows) >= 2
    assert "the same, over an all_reduce a metric" in done.stderr  # whether it holds is no test's affair
    assert "least daemon" in done.stderr


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


def test_in_balanced_rounds_each_has_every_place_once_and_follows_each_other_equally_often(
    script: Script,
) -> None:
    names = ["a", "b", "c", "d"]
    turns = list(script("flushes_process").balanced(names, 4))
    assert all(sorted(turns[place::4]) == names for place in range(4))
    within = [pair for at in range(0, 16, 4) for pair in itertools.pairwise(turns[at : at + 4])]
    assert sorted(within) == sorted(itertools.permutations(names, 2))


def added(noop: tuple[float, float], ours: tuple[float, float], least: tuple[float, float]) -> list[dict[str, object]]:
    ways = {"noop": noop, "asynclog": ours, "least": least}
    return [{"way": way, "by_flushes_us": us, "by_flushes_error_us": error} for way, (us, error) in ways.items()]


def test_a_ratio_to_the_least_daemon_is_told_only_where_that_costs_more_than_the_clock_errs(script: Script) -> None:
    flushes = script("flushes")
    told = flushes.over_least(added((20, 0), (80, 12), (40, 0)))
    assert told == "asynclog adds 3 ± 0.60 times what the least daemon does."
    assert "2 ± 0.50 times" in flushes.over_least(added((0, 6), (40, 0), (20, 4)))
    assert flushes.over_least(added((20, 3), (80, 12), (29, 4))).startswith("The least daemon adds 9 ± 5 us, too near")


def test_whole_steps_are_beside_the_no_op_loggers_of_their_round(script: Script) -> None:
    flushes = script("flushes")
    row = flushes.beside_noop({"way": "least", "turns_us": [11.0, 25.0]}, [10.0, 20.0])
    assert row == {"way": "least", "step_us": 18.0, "whole_us": 3.0, "whole_error_us": 2.0}
