from __future__ import annotations

import pytest

from asynclogd.stages import KEPT, Stage, summaries


def test_quantiles_are_of_the_calls() -> None:
    stage = Stage()
    for hundredth in range(100, 0, -1):
        stage.add(hundredth / 100)
    assert stage.summary() == pytest.approx({"calls": 100, "total_s": 50.5, "p50_s": 0.5, "p99_s": 0.99}, rel=1e-6)


def test_one_call_is_both_quantiles() -> None:
    stage = Stage()
    stage.add(0.25)
    assert stage.summary() == {"calls": 1, "total_s": 0.25, "p50_s": 0.25, "p99_s": 0.25}


def test_old_calls_are_forgotten_by_the_quantiles_and_not_by_the_sum() -> None:
    stage = Stage()
    for _ in range(3 * KEPT + 7):
        stage.add(8.0)
    for _ in range(KEPT):
        stage.add(2.0)
    assert stage.summary() == {"calls": 4 * KEPT + 7, "total_s": 26 * KEPT + 56.0, "p50_s": 2.0, "p99_s": 2.0}


def test_a_stage_that_was_never_called_is_not_told() -> None:
    stage = Stage()
    stage.add(1.0)
    assert [*summaries({"a": stage, "b": Stage()})] == ["a"]
