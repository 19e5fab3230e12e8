"""What is known by a tuple's identity: found again for the same object, for no other, and never too much of it."""

from __future__ import annotations

import pytest

from asynclog_proto.records import Define
from asynclogd import seen
from asynclogd.lanes import Lane
from asynclogd.metrics import Metrics
from asynclogd.seen import Seen


def names(count: int) -> tuple[str, ...]:
    return tuple(f"train/metric_{index}" for index in range(count))


def test_the_same_tuple_is_known_and_an_equal_one_is_not() -> None:
    one, other = names(3), names(3)
    known: Seen[int] = Seen()
    known.put(one, 7)
    assert known.get(one) == 7
    assert known.get(other) is None
    known.clear()
    assert known.get(one) is None


def test_a_tuple_that_nobody_else_has_gives_its_identity_to_no_other() -> None:
    known: Seen[int] = Seen()
    for value in range(100):
        fresh = names(2)  # after each turn only `known` has it
        assert known.get(fresh) is None
        known.put(fresh, value)
        assert known.get(fresh) == value


def test_when_it_is_full_it_forgets_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seen, "MOST_NAMES", 3 * (10 + seen.OVERHEAD))
    known, kept = Seen[int](), [names(10) for _ in range(5)]
    for value, each in enumerate(kept):
        known.put(each, value)
        assert known.get(each) == value
    assert [known.get(each) for each in kept] == [None, None, None, 3, 4]


def test_a_define_changes_what_is_known_of_a_layout() -> None:
    metrics, layout = Metrics(), names(3)
    assert [group.spec.reductions[0] for group in metrics.ways(layout).groups] == ["mean"]
    assert metrics.define(Define("train/*", reduce=("max",), lane="evaluation", own_steps=True))
    assert [group.spec.reductions for group in metrics.ways(layout).groups] == [("max",)]
    assert metrics.ways(layout).lane == Lane("evaluation", own_steps=True)
    assert metrics.ways(names(3)) is metrics.ways(layout)  # ranks have the same names, each its own tuple
