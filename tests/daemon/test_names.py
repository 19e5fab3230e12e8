"""A run has so many different names, and no more: a new one at every step does not take the daemon's memory."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclog_proto import records
from asynclogd.entries import Cause, Input, Stream
from asynclogd.points import Item, Points
from asynclogd.reducer import ReducerSettings
from asynclogd.state import RunState, join_payload
from tests.daemon.tables import identity
from tests.daemon.test_state import batch, text

SETTINGS = ReducerSettings(join_deadline=50.0, step_deadline=20.0)


def join(stream: int, most: int, launch: str = "L") -> Input:
    about = Stream(stream, stream - 1, 2, "i", launch, "h", 1, "", "")
    return Input(Cause.JOIN, stream, payload=join_payload(about, most))


def said(stream: int, seq: int, step: int, *names: str) -> Input:
    """A row of these names, and their layout, which has the step for its number."""
    row = records.Row(step, step, float(step), 1.0, tuple(float(number) for number in range(len(names))))
    return batch(stream, seq, records.Layout(step, names), row)


def played(state: RunState, entries: list[Input]) -> list[Item]:
    for now, entry in enumerate(entries, 1):
        assert state.apply(replace(entry, now=now / 100)) is None
    return state.drain()


def values(items: list[Item]) -> dict[tuple[str, int], float]:
    return {
        (name, int(step)): float(item.values[row, column])
        for item in items
        if isinstance(item, Points)
        for row, step in enumerate(item.steps)
        for column, name in enumerate(item.names)
    }


@pytest.mark.cap("run-names")
def test_values_of_names_beyond_the_cap_are_dropped_and_counted_and_the_rest_goes_on() -> None:
    state = RunState(SETTINGS)
    entries = [said(1, 2 * step, step, f"new/{step}", "loss") for step in range(10)]
    alone = said(1, 20, 10, "one", "two")
    ends = [batch(1, 22, records.End("success")), batch(2, 0, records.End("success"))]
    got = values(played(state, [join(1, 4), join(2, 4), *entries, alone, *ends]))
    kept = {(f"new/{step}", step): 0.0 for step in range(3)}
    assert got == kept | {("loss", step): 1.0 for step in range(10)}
    assert len(state.names) == 4
    assert state.names.excess == "new/3"
    assert state.dropped == {"names_full": 7 + 2}
    assert state.journaled == 13


@pytest.mark.cap("run-names")
def test_an_image_of_a_name_too_many_is_dropped_and_its_room_freed() -> None:
    state = RunState(SETTINGS)
    played(state, [join(1, 1), said(1, 0, 0, "loss"), batch(1, 2, text(0))])
    assert state.dropped == {"names_full": 1}
    assert len(state.media) == 0
    assert state.journaled == 1


def test_a_raised_cap_counts_from_the_next_join_on() -> None:
    state = RunState(SETTINGS)
    rows = [said(1, 0, 0, "a", "b"), join(2, 2), said(1, 2, 1, "c"), said(1, 4, 2, "a", "b", "c")]
    played(state, [join(1, 1), *rows])
    got = values(played(state, [batch(1, 6, records.End("success")), batch(2, 0, records.End("success"))]))
    assert sorted(got) == [("a", 0), ("a", 2), ("c", 1), ("c", 2)]
    assert state.dropped == {"names_full": 2}


@settings(max_examples=40)
@given(st.integers(0, 1 << 32))
def test_a_replay_drops_the_same_whatever_the_cap_is_by_then(seed: int) -> None:
    dice = random.Random(seed)
    live, seqs = RunState(SETTINGS), [0, 0]
    snapshots: list[bytes | None] = [None]
    entries = [join(1, 5), join(2, 5)]
    for step in range(30):
        stream = dice.randint(1, 2)
        if dice.random() < 0.1:
            entries.append(join(stream, dice.randint(1, 12)))
        names = tuple(dict.fromkeys(f"n{dice.randrange(20)}" for _ in range(dice.randint(1, 4))))
        entries.append(said(stream, seqs[stream - 1], step, *names))
        seqs[stream - 1] += 2
    entries = [replace(entry, now=float(now)) for now, entry in enumerate(entries)]
    for entry in entries:
        live.apply(entry)
        live.drain()
        snapshots.append(live.snapshot())
    cut = dice.randrange(len(snapshots))
    again = RunState.restore(SETTINGS, snapshots[cut], entries[cut:])
    assert again.snapshot() == live.snapshot()
    more = [said(1, seqs[0], 100, *(f"n{number}" for number in range(20))), Input(Cause.TICK)]
    outs = []
    for state in (live, again):
        for entry in more:
            state.apply(replace(entry, now=100.0))
        outs.append([identity(item) for item in state.drain()])
    assert outs[0] == outs[1]
    assert live.dropped == again.dropped
