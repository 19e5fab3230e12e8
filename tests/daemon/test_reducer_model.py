from __future__ import annotations

import math
import random
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asynclogd.metrics import Metrics
from asynclogd.points import Item, Points, Rewind, RunEnd
from asynclogd.reducer import Reducer, ReducerSettings
from tests.daemon.reducer_model import Model
from tests.daemon.reducer_worlds import DEFINES, Call, rows, world
from tests.daemon.told import Told, told

SETTINGS = ReducerSettings(history_steps=5)
SEEDS = st.integers(0, 1 << 32)


def begun(calls: list[Call]) -> Iterator[Call]:
    """The calls, and the defines that each generation begins with."""
    launches: set[str] = set()
    for name, arguments in calls:
        yield name, arguments
        if name == "join" and arguments[2] not in launches:
            launches.add(arguments[2])
            yield "feed", (arguments[0], arguments[2], DEFINES, arguments[3])


def play(reducer: Reducer, calls: list[Call]) -> list[Item]:
    """All items that come of the calls; the ledger balances after each."""
    items: list[Item] = []
    counted = 0
    for name, arguments in begun(calls):
        getattr(reducer, name)(*arguments)
        new = reducer.drain()
        items += new
        counted += sum(item.logged_total for item in new if isinstance(item, Points))
        assert reducer.journaled == counted + reducer.open_values()
    return items


def compare(found: dict[str, list[Told]], expected: dict[str, list[Told]], tolerance: float = 1e-9) -> None:
    """One call's points. Rows that lie side by side in a batch come out by step, which the model does not mind."""
    assert found.keys() == expected.keys()
    for name, points in expected.items():
        got, want = (sorted(each, key=lambda point: point[0]) for each in (found[name], points))
        assert [(p[0], *p[2:]) for p in got] == [(p[0], *p[2:]) for p in want], name
        for point, twin in zip(got, want, strict=True):
            assert same(point[1], twin[1], tolerance), (name, point, twin)


def same(one: float, other: float, tolerance: float = 1e-9) -> bool:
    return (
        one == other
        or (math.isnan(one) and math.isnan(other))
        or math.isclose(one, other, rel_tol=tolerance, abs_tol=tolerance)
    )


def exactly(items: list[Item]) -> list[object]:
    """Items as values that compare bit for bit, but for a NaN's sign: of inf - inf it is NumPy's affair, and differs by
    how an array lies in memory.
    """
    return [
        (
            item.names, item.steps.tobytes(), item.times.tobytes(),
            np.where(np.isnan(item.values), np.nan, item.values).tobytes(),
            item.ranks.tobytes(), item.logged.tobytes(), item.world, item.generation, item.revision,
            None if item.holders is None else item.holders.tobytes(),
        )
        if isinstance(item, Points)
        else item
        for item in items
    ]  # fmt: skip


@settings(max_examples=150)
@given(SEEDS)
def test_tells_what_a_slow_and_obvious_model_tells(seed: int) -> None:
    metrics = Metrics()
    for define in DEFINES:
        metrics.define(define)
    model, reducer = Model(SETTINGS, metrics), Reducer(SETTINGS)
    items: list[Item] = []
    for name, arguments in begun(world(seed)):
        getattr(reducer, name)(*arguments)
        if arguments[2:3] != (DEFINES,):
            getattr(model, name)(*arguments)
        new = reducer.drain()
        compare(told(new), model.told())
        items += new
        per_rank = [reducer.open_values(rank) for rank in range(70)]
        assert sum(per_rank) >= reducer.open_values()
    facts = [
        ("rewind", item.step, item.generation) if isinstance(item, Rewind) else ("end", item.status)
        for item in items
        if isinstance(item, (Rewind, RunEnd))
    ]
    assert facts == model.facts
    counts = reducer.journaled, reducer.late, reducer.superseded
    assert counts == (model.journaled, model.late, model.superseded)


@settings(max_examples=60)
@given(SEEDS)
@example(356)
def test_goes_on_from_a_snapshot_bit_for_bit(seed: int) -> None:
    calls = world(seed, calls=40)
    whole = play(Reducer(SETTINGS), calls)
    dice = random.Random(seed)
    reducer = Reducer(SETTINGS)
    items: list[Item] = []
    for name, arguments in begun(calls):
        getattr(reducer, name)(*arguments)
        items += reducer.drain()
        if dice.random() < 0.3:
            before = reducer
            blob = before.snapshot()
            reducer = Reducer.restore(SETTINGS, blob)
            assert reducer.snapshot() == blob
            assert reducer.next_deadline() == before.next_deadline()
            assert reducer.open_values() == before.open_values()
            assert [reducer.open_values(rank) for rank in range(5)] == [before.open_values(r) for r in range(5)]
    assert exactly(items) == exactly(whole)


@settings(max_examples=60)
@given(SEEDS)
def test_the_order_in_which_ranks_arrive_changes_nothing(seed: int) -> None:
    dice = random.Random(seed)
    size, steps = dice.choice([2, 3, 8, 9]), 6
    by_rank = {
        rank: [rows(names, [step] * dice.randint(1, 2), dice, odd=0.02, time=step)
               for step in range(steps)
               for names in (("a", "b"), ("lo", "all"))]
        for rank in range(size)
    }  # fmt: skip
    results = []
    for _ in range(2):
        reducer = Reducer(SETTINGS)
        calls: list[Call] = [("join", (rank, size, "L", 0.0)) for rank in range(size)]
        order = list(by_rank)
        dice.shuffle(order)
        calls += [("feed", (rank, "L", by_rank[rank], 1.0)) for rank in order]
        results.append(told(play(reducer, calls)))
        assert reducer.open_values() == 0
    one, other = results
    for name in set(one) | set(other):
        tolerance = 0.0 if name in {"lo", "all/max", "all/first", "all/last"} else 1e-12
        for point, twin in zip(one[name], other[name], strict=True):
            assert (point[0], *point[2:]) == (twin[0], *twin[2:]), name
            assert same(point[1], twin[1], tolerance), name


@pytest.mark.parametrize("size", [1, 8, 9, 33, 64, 65, 200])
def test_counts_each_rank_once_in_worlds_of_any_size(size: int) -> None:
    dice = random.Random(size)
    reducer = Reducer()
    for rank in range(size):
        reducer.join(rank, size, "L", 0.0)
    for rank in range(size):
        reducer.feed(rank, "L", [rows(("a", "b"), [0, 1, 1, 2], dice)], 0.0)
    last: dict[int, int] = {}
    for item in reducer.drain():
        assert isinstance(item, Points)
        last.update({step: int(ranks) for step, ranks in zip(item.steps.tolist(), item.ranks[:, 0], strict=True)})
    assert last == dict.fromkeys(range(3), size)
    assert np.isfinite(reducer.open_values())
