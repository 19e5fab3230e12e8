"""A run's state is a function of its inputs: whatever they are and wherever a crash comes, the same comes out."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclog_proto import records, wire
from asynclog_proto.media import Media, Place, Section
from asynclogd.entries import Cause, Input, Stream
from asynclogd.media import pending
from asynclogd.points import Blob, Item, Points, RunEnd
from asynclogd.points import Media as MediaItem
from asynclogd.reducer import ReducerSettings
from asynclogd.state import PAST, RunState, join_payload
from tests.daemon.tables import identity

SETTINGS = ReducerSettings(join_deadline=50.0, step_deadline=20.0)
DONE = pending.encoded_payload("text/markdown", {}, Blob("00" * 16, 1, 36, 5))


def join(stream: int, rank: int, world: int, launch: str = "L") -> Input:
    return Input(Cause.JOIN, stream, payload=join_payload(Stream(stream, rank, world, "i", launch, "h", 1, "", "")))


def text(step: int, body: bytes | Place = b"hello") -> Media:
    size = body.size if isinstance(body, Place) else len(body)
    return Media("note", step, 0.0, "text", (Section("text", "text", (size,)),), {}, body)


def batch(stream: int, seq: int, *said: records.Record) -> Input:
    return Input(Cause.BATCH, stream, seq, len(said), b"".join(map(records.encode, said)))


class Story:
    """Random things that happen to a run of two ranks, two launches and their media, as commits have them."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)
        self.seqs = [0] * 4
        self.open: list[tuple[int, int]] = []
        self.outbox = 0
        self.joined = [0, 1]

    def group(self, now: float) -> list[Input]:
        entries = [entry for _ in range(self.dice.randint(1, 3)) for entry in self.entries()]
        return [replace(entry, now=now) for entry in entries]

    def entries(self) -> list[Input]:
        dice = self.dice
        act = dice.choice(["batch", "batch", "media", "media", "tick", "late join"])
        if act == "tick":
            return [Input(Cause.TICK)]
        if act == "late join" and len(self.joined) < 4 and dice.random() < 0.3:
            self.joined.append(len(self.joined))
            return [join(self.joined[-1] + 1, self.joined[-1] % 2, 2, "M")]
        if act == "media" and self.open:
            stream, seq = self.open.pop(dice.randrange(len(self.open)))
            payload = dice.choice([DONE, DONE, pending.refused_payload("too wide"), pending.DROPPED_PAYLOAD])
            return [Input(Cause.MEDIA, stream, seq, 1, payload)]
        return [self.batch(dice.choice(self.joined))]

    def batch(self, which: int) -> Input:
        dice, stream, first = self.dice, which + 1, self.seqs[which]
        said: list[records.Record] = [records.Layout(0, ("loss",))]
        for _ in range(dice.randint(0, 4)):
            step = dice.randint(0, 20)
            if dice.random() < 0.5:
                said.append(records.Row(0, step, float(step), 1.0, (dice.random(),)))
                continue
            body = b"hi" if dice.random() < 0.5 else Place(dice.randint(0, 1), self.outbox, 10)
            self.outbox += 10
            self.open.append((stream, first + len(said)))
            said.append(text(step, body))
        if dice.random() < 0.1:
            said.append(records.End("success"))
        self.seqs[which] += len(said)
        return batch(stream, first, *said)


def fresh_of(state: RunState) -> list[tuple[int, int]]:
    return [(each.stream, each.seq) for each in state.media.standing().fresh]


@settings(max_examples=60)
@given(st.integers(0, 1 << 32))
def test_a_replay_from_any_snapshot_gives_the_same(seed: int) -> None:
    story = Story(seed)
    live = RunState(SETTINGS)
    groups = [[replace(join(stream, stream - 1, 2), now=0.5) for stream in (1, 2)]]
    groups += [story.group(float(now)) for now in range(1, 30)]
    snapshots: list[bytes | None] = [None]
    for group in groups:
        assert [live.apply(entry) for entry in group] == [None] * len(group)
        live.drain()
        snapshots.append(live.snapshot())
    cut = story.dice.randrange(len(groups) + 1)
    entries = [entry for group in groups[cut:] for entry in group]
    again = RunState.restore(SETTINGS, snapshots[cut], entries)
    assert again.snapshot() == live.snapshot()
    assert again.journaled == live.journaled
    for stream in range(1, 5):
        assert again.open_values(stream) == live.open_values(stream)
    assert sorted(fresh_of(again)) == sorted(story.open)
    # And what it puts out from there on is the same.
    more = [replace(entry, now=100.0) for entry in story.entries() + story.entries()]
    outs: list[list[Any]] = []
    for state in (live, again):
        for entry in more:
            state.apply(entry)
        outs.append([identity(item) for item in state.drain()])
    assert outs[0] == outs[1]


def play(*groups: list[Input], state: RunState | None = None) -> list[list[Item]]:
    state = state or RunState(SETTINGS)
    out = []
    for now, group in enumerate(groups, 1):
        for entry in group:
            assert state.apply(replace(entry, now=float(now))) is None
        out.append(state.drain())
    return out


def test_the_runs_end_comes_after_the_media_that_were_logged_before_it() -> None:
    said = batch(1, 0, text(0), text(1), records.End("success"))
    done = [[Input(Cause.MEDIA, 1, seq, 1, DONE)] for seq in (0, 1)]
    out = play([join(1, 0, 1), said], *done)
    assert [[type(item) for item in items] for items in out] == [[], [MediaItem], [MediaItem, RunEnd]]
    refused = Input(Cause.MEDIA, 1, 1, 1, pending.refused_payload("no"))
    assert play([join(1, 0, 1), said], done[0], [refused])[-1] == [RunEnd("success")]


def test_a_run_that_goes_on_does_not_wait_with_its_end() -> None:
    state = RunState(SETTINGS)
    play([join(1, 0, 1), batch(1, 0, text(0), records.End("failed"))], state=state)
    layout = records.Layout(0, ("loss",))
    row = records.Row(0, 5, 0.0, 1.0, (1.0,))
    (out,) = play([join(2, 0, 1, "M"), batch(2, 0, layout, row)], state=state)
    assert [type(item).__name__ for item in out] == ["RunEnd", "Points"]


def test_media_have_the_generation_of_their_launch() -> None:
    state = RunState(SETTINGS)
    play([join(1, 0, 1), batch(1, 0, text(0))], [join(2, 0, 1, "M"), batch(2, 0, text(0))], state=state)
    late = [batch(1, 1, text(1)), *(Input(Cause.MEDIA, *which, 1, DONE) for which in [(1, 0), (2, 0), (1, 1)])]
    (items,) = play(late, state=state)
    assert [item.generation for item in items if isinstance(item, MediaItem)] == [0, 1, 0]


def test_media_count_as_journaled_unless_they_are_refused() -> None:
    state = RunState(SETTINGS)
    play([join(1, 0, 1), batch(1, 0, text(0), text(1))], state=state)
    assert state.journaled == 2
    play([Input(Cause.MEDIA, 1, 0, 1, pending.refused_payload("no"))], [Input(Cause.MEDIA, 1, 1, 1, DONE)], state=state)
    assert state.journaled == 1


@pytest.mark.parametrize("launch", ["L", "M"])
def test_pending_media_are_open_values_also_of_a_launch_that_is_over(launch: str) -> None:
    state = RunState(SETTINGS)
    play([join(1, 0, 1), batch(1, 0, text(3))], [join(2, 0, 1, launch)], state=state)
    assert [state.open_values(1), state.open_values(1, 2), state.open_values(1, 3)] == [1, 0, 1]


def test_a_snapshot_from_before_there_were_media_is_taken() -> None:
    state = RunState(SETTINGS)
    play([join(1, 0, 1), batch(1, 0, records.Layout(0, ("loss",)))], state=state)
    former = {name: value for name, value in wire.unpack(state.snapshot()).items() if name not in ("media", "end")}
    again = RunState.restore(SETTINGS, wire.pack(former), [])
    assert again.snapshot() == state.snapshot()


def rows(*steps: int) -> list[records.Record]:
    layout = [records.Layout(0, ("a",))] if steps[0] == 0 else []
    return [*layout, *(records.Row(0, step, 1.0, 1.0, (float(step),)) for step in steps)]


def flat(groups: list[list[Item]]) -> list[Item]:
    return [item for group in groups for item in group]


def past(entry: Input) -> Input:
    return replace(entry, payload=wire.pack({**wire.unpack(entry.payload), "past": True}))


def test_a_stream_of_before_its_rank_came_again_says_nothing_of_the_rank() -> None:
    """Not that it has ended, nor when it leaves: the rank is waited for as before. So after a replay."""
    state = RunState(SETTINGS)
    begins = [join(1, 0, 2), join(2, 1, 2), batch(1, 0, *rows(0, 1))]
    late = [past(join(3, 0, 2)), batch(3, 0, *rows(0, 1), records.End("failed"))]
    assert flat(play(begins, late, [Input(Cause.LEAVE, 3, payload=PAST)], state=state)) == []
    assert state.ended == {3}, "whoever waits for this process's own end is told"
    state = RunState.restore(SETTINGS, state.snapshot(), [])
    ends = [[batch(2, 0, *rows(0, 1, 2), records.End("success"))], [batch(1, 3, *rows(2), records.End("success"))]]
    items = flat(play(*ends, state=state))
    assert items[-1] == RunEnd("success")
    assert [step for item in items if isinstance(item, Points) for step in item.steps.tolist()] == [0, 1, 2]


@pytest.mark.parametrize("ends", ["dies", "says END"])
def test_the_runs_end_is_told_again_behind_what_an_earlier_process_of_a_rank_left(ends: str) -> None:
    state = RunState(SETTINGS)
    play([join(1, 0, 1), batch(1, 0, *rows(0, 1), records.End("success"))], state=state)
    late = [past(join(2, 0, 1)), batch(2, 0, *rows(0, 1))]
    leaves = Input(Cause.LEAVE, 2, payload=PAST) if ends == "dies" else batch(2, 3, records.End("failed"))
    items = flat(play(late, [leaves], state=state))
    assert isinstance(items[0], Points)
    assert items[1:] == [RunEnd("success")]


def test_a_stream_of_before_is_not_waited_for_where_its_rank_is_not_there_any_more() -> None:
    state = RunState(SETTINGS)
    play([join(1, 0, 1, "L+"), batch(1, 0, records.End("success"))], [join(2, 1, 2, "L+")], state=state)
    late = [past(join(3, 0, 2, "L+")), batch(3, 0, *rows(0, 1))]
    ends = [batch(2, 0, *rows(0, 1), records.End("success"))]
    items = flat(play(late, [Input(Cause.LEAVE, 3, payload=PAST)], ends, state=state))
    assert items[-1] == RunEnd("killed")


def test_what_a_stream_of_before_says_when_its_launch_has_begun_again_has_nobody_waited_for() -> None:
    """It lives on, cut off, say; its rank is not among those of the next round."""
    state = RunState(SETTINGS)
    begins = [join(1, 0, 2, "L+"), join(2, 1, 2, "L+"), join(3, 1, 2, "L+"), past(join(2, 1, 2, "L+"))]
    ended = [batch(stream, 0, records.End("success")) for stream in (1, 3)]
    again = [join(4, 0, 1, "L+"), join(5, 2, 3, "L+"), batch(2, 0, *rows(0))]
    play(begins, ended, again, state=state)
    items = flat(play([batch(4, 0, *rows(0, 1)), batch(5, 0, *rows(0, 1))], state=state))
    assert [step for item in items if isinstance(item, Points) for step in item.steps.tolist()] == [0, 1]
