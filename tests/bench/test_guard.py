"""bench/guard.py: what it calls a regression, and that it measures real work."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.bench.conftest import Script

HERE = "Python 3.11.7, NumPy 2.4.6, x86_64"


@pytest.fixture
def guard(script: Script) -> ModuleType:
    return script("guard")


def row(kind: str, value: float) -> dict[str, Any]:
    return {"kind": kind, "what": "work", "value": value}


@pytest.mark.parametrize("kind", ["ratio", "bytes", "instructions"])
def test_a_figure_may_swing_as_its_kind_does_and_no_more(guard: ModuleType, kind: str) -> None:
    stored = {kind: {"work": 100.0}, "instructions of": HERE}
    most = guard.TOLERANCES[kind]
    values = {99.9 * most: "PASS", 100.1 * most: "FAIL", 100.1 / most: "PASS", 99.9 / most: "better"}
    for value, verdict in values.items():
        (found,) = guard.compared([row(kind, value)], stored, HERE)
        assert (found["verdict"], found["stored"]) == (verdict, 100.0)


def test_what_is_not_stored_is_new_and_fails_nothing(guard: ModuleType) -> None:
    (found,) = guard.compared([row("ratio", 1e9)], {"instructions": {"other work": 1.0}}, HERE)
    assert (found["verdict"], found["stored"]) == ("new", None)


def test_what_is_stored_and_was_not_measured_has_failed(guard: ModuleType) -> None:
    found = guard.compared([row("ratio", 1.0)], {"ratio": {"work": 1.0, "other work": 1.0}}, HERE)
    assert [(each["what"], each["verdict"]) for each in found] == [("work", "PASS"), ("other work", "FAIL")]


def test_instructions_of_another_python_are_not_compared_and_that_is_said(guard: ModuleType) -> None:
    stored = {"machine": "a machine", "instructions": {"work": 1}, "instructions of": "Python 3.10.1"}
    found = guard.compared([row("instructions", 1e9)], stored, HERE)
    assert found[0]["verdict"] == "new"
    assert any("Python 3.10.1" in note and HERE in note for note in guard.notes(found, stored, HERE))


def test_that_instructions_were_not_counted_is_said(guard: ModuleType) -> None:
    found = guard.compared([row("ratio", 1.0)], {}, HERE)
    assert any("not counted" in note for note in guard.notes(found, {}, HERE))


def test_an_update_where_instructions_can_not_be_counted_keeps_the_stored_ones(guard: ModuleType) -> None:
    stored = {"instructions": {"work": 7}, "instructions of": "Python 3.10.1", "ratio": {"work": 9.0, "gone": 1.0}}
    kept = guard.to_store([row("ratio", 2.0)], stored, HERE)
    assert (kept["instructions"], kept["instructions of"]) == ({"work": 7}, "Python 3.10.1")
    assert kept["ratio"] == {"work": 2.0}
    anew = guard.to_store([row("instructions", 5)], stored, HERE)
    assert (anew["instructions"], anew["instructions of"]) == ({"work": 5}, HERE)


def test_a_piece_of_work_is_the_count_between_its_two_marks(script: Script) -> None:
    between_marks = script("guard_instructions").between_marks
    texts = [f"desc: Trigger: --dump-before=getsid\nsummary: {n}\n\ntotals: {n}\n" for n in (10, 20, 30, 40)]
    assert between_marks(texts) == [20, 40]
    with pytest.raises(ValueError, match="totals"):
        between_marks(["", ""])


def test_both_sides_of_a_ratio_get_the_same_and_the_least_turn_counts(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    timing = script("guard_timing")
    work_of = script("guard_work").Work
    taken: list[tuple[str, int]] = []
    turns = iter(range(10**9))
    cpu = {"ours": [9.0, 6.0], "floor": [2.0, 3.0]}

    def scripted(act: Any, given: int) -> float:
        return cpu[act(given)][given % 2]

    def note(side: str) -> Any:
        def act(given: int) -> str:
            taken.append((side, given))
            return side

        return act

    monkeypatch.setattr(timing, "seconds", scripted)
    assert timing.ratios([work_of("w", "l", lambda: next(turns), note("ours"), note("floor"))], 0.05) == [3.0]
    assert [given for side, given in taken if side == "ours"] == [given for side, given in taken if side == "floor"]


def test_every_piece_of_work_is_done_and_its_floor_too(tmp_path: Path, script: Script) -> None:
    work, timing = script("guard_work"), script("guard_timing")
    with work.works(tmp_path) as found:
        assert len({each.name for each in found}) == len(found)
        assert all(ratio > 0 for ratio in timing.ratios(found, 0.0001))


def test_the_floor_of_reducing_has_the_means_that_the_daemon_has(script: Script) -> None:
    work = script("guard_work")
    reducing, batches = script("ingest").Reducing(), work.Batches(3)
    points: dict[int, Any] = {}
    for given in (batches(), batches()):
        for rank, parts in enumerate(given[1]):
            reducing._reducer.feed(rank, "bench", reducing._decoders[rank].decode(parts[1]), 0.0)
        for item in reducing._reducer.drain():
            points |= dict(zip(item.steps.tolist(), item.values, strict=True))
    means = script("ingest_floor").Floor(work.NAMES).mean(given[1])  # of the second batch: the first has layouts too
    assert means.shape == (3, work.NAMES)
    for step in (3, 4):  # step 5 is open: a rank may log it again
        assert means[step - 3] == pytest.approx(points[step])


def test_bytes_are_the_same_in_every_run(tmp_path: Path, script: Script) -> None:
    timing = script("guard_timing")
    first, second = timing.sizes(tmp_path / "a"), timing.sizes(tmp_path / "b")
    assert first == pytest.approx(second, rel=1e-3)
    assert all(8 < size < 100 for size in first.values())
