"""Commits gather, survive a disk that refuses, and never apply anything twice."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import uvloop

from asynclog_proto import records
from asynclogd import committer as module
from asynclogd.committer import Committer
from asynclogd.entries import Cause, Cursor, Input, Stream
from asynclogd.journal import JournalError
from asynclogd.journalcap import JournalCap
from asynclogd.points import Points
from asynclogd.reducer import ReducerSettings
from asynclogd.session import Session
from asynclogd.state import join_payload
from asynclogd.store import Interest, Outcome, RunStore, Work

STREAM = Stream(1, 0, 1, "inc", "launch", "host", 1, "", "")
LAYOUT = records.encode(records.Layout(0, ("loss",)))


def batch(seq: int, rows: int, first: bool = False) -> Input:
    payload = b"".join(records.encode(records.Row(0, seq + i, 0.0, 1.0, (float(seq + i),))) for i in range(rows))
    count = rows + first
    return Input(Cause.BATCH, 1, seq, count, (LAYOUT if first else b"") + payload)


async def until(condition: Callable[[], object]) -> None:
    """Wait for something that another thread's work brings about; `run` has the deadline."""
    while not condition():  # noqa: ASYNC110 - there is no event to wait for
        await asyncio.sleep(0.001)


class Scene:
    """A committer over a real store, and what it told."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic, most_mb: int = 1000) -> None:
        self.path = path
        self.outcomes: list[Outcome] = []
        self.broken: list[str] = []
        self.session = Session.of(STREAM)
        self.cap = JournalCap("run", most_mb)
        self.commits = Committer("run", 0.0, self.cap, self.took, Interest, self.broken.append, clock)

    def took(self, outcome: Outcome, work: Work) -> None:  # noqa: ARG002 - as the pipeline has it
        self.outcomes.append(outcome)

    async def open(self) -> RunStore:
        store = await self.commits.open(lambda: RunStore(self.path, "process", ReducerSettings()))
        await self.commits.start()
        return store

    @property
    def values(self) -> list[float]:
        """The values of all points so far, in order."""
        items = [item for outcome in self.outcomes for _, item in outcome.items]
        return [point.value for item in items if isinstance(item, Points) for point in item]


def run(scene: Scene, play: Callable[[RunStore], object]) -> None:
    async def main() -> None:
        store = await scene.open()
        await play(store)  # type: ignore[misc]
        await scene.commits.close()

    asyncio.run(asyncio.wait_for(main(), 60))


def test_what_comes_in_while_a_commit_runs_shares_the_next_one(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "j.sqlite")

    async def play(_: RunStore) -> None:
        scene.commits.put(Input(Cause.JOIN, 1, payload=join_payload(STREAM)), scene.session)
        for step in range(50):
            scene.commits.put(batch(step, 1, first=step == 0), scene.session)
        await scene.commits.settle()

    run(scene, play)
    assert scene.values == [float(step) for step in range(50)]
    assert len(scene.outcomes) < 10


def test_what_can_not_wait_is_gathered_with_what_can_by_the_loop_that_the_daemon_has(tmp_path: Path) -> None:
    """What is due at once is no timer of uvloop's, and can't be asked when it is due."""
    scene = Scene(tmp_path / "j.sqlite")

    async def play() -> None:
        await scene.open()
        for seconds in (0.0, 0.0, 3600.0):
            scene.commits.gather(seconds)
        scene.commits.put(Input(Cause.TICK))
        await scene.commits.settle()
        await scene.commits.close()

    with contextlib.closing(uvloop.new_event_loop()) as loop:
        loop.run_until_complete(play())
    assert len(scene.outcomes) == 2


def test_where_nobody_else_is_waited_for_it_commits_at_once_but_no_more_than_once_an_interval(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "j.sqlite")

    async def play(_: RunStore) -> None:
        commits, hour = scene.commits, 3600.0
        commits._interval, commits._began = hour, asyncio.get_running_loop().time() - hour
        commits.put_batch(Input(Cause.JOIN, 1, payload=join_payload(STREAM)), scene.session)
        await until(lambda: len(scene.outcomes) == 2)  # the first was the start's
        commits.put_batch(batch(0, 10, first=True), scene.session)
        assert commits._gathering is not None
        assert commits._gathered_at > asyncio.get_running_loop().time() + hour - 60
        await commits.settle()
        assert len(scene.values) == 10

    run(scene, play)


def test_a_round_has_what_was_there_and_is_not_kept_by_what_comes_meanwhile(tmp_path: Path) -> None:
    class Busy(Scene):
        def took(self, outcome: Outcome, work: Work) -> None:
            super().took(outcome, work)
            self.commits.put(Input(Cause.TICK))

    scene = Busy(tmp_path / "j.sqlite")

    async def play(store: RunStore) -> None:
        for offset in range(1, 6):
            scene.commits.work.cursors["file"] = Cursor(offset=offset)
            await scene.commits.round()
            found = await scene.commits.in_thread(store.journal.cursors)
            assert found["file"].offset == offset
            assert not scene.commits.settled

    run(scene, play)


def test_a_full_disk_is_waited_out_and_nothing_is_lost_or_doubled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.01)
    scene = Scene(tmp_path / "j.sqlite")

    async def play(store: RunStore) -> None:
        scene.commits.put(Input(Cause.JOIN, 1, payload=join_payload(STREAM)), scene.session)
        scene.commits.put(batch(0, 10, first=True), scene.session)
        await scene.commits.settle()
        connection = store.journal._connection
        # SQLite's own cap on the file: the error is the one of a full disk.
        await scene.commits.in_thread(lambda: connection.execute("PRAGMA max_page_count = 1").fetchall())
        for step in range(11, 20_000, 1000):
            scene.commits.put(batch(step, 1000), scene.session)
        await until(lambda: scene.commits.error)
        taken = len(scene.values)
        scene.commits.put(batch(20_011, 5), scene.session)
        assert not scene.commits.settled
        assert len(scene.values) == taken
        await scene.commits.in_thread(lambda: connection.execute("PRAGMA max_page_count = 1000000").fetchall())
        await scene.commits.settle()
        assert scene.commits.error == ""

    run(scene, play)
    assert scene.values == [float(v) for v in [*range(10), *range(11, 20_011), *range(20_011, 20_016)]]
    again = Scene(tmp_path / "j.sqlite")

    async def look(store: RunStore) -> None:
        assert store.state.journaled == len(scene.values)
        assert sum(len(item) for _, item in store.items(0, 1 << 30) if isinstance(item, Points)) == len(scene.values)

    run(again, look)


def test_a_batch_that_can_not_be_decoded_refuses_its_stream_and_no_other(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "j.sqlite")
    other = Stream(2, 0, 1, "other", "launch", "host", 1, "", "")

    async def play(_: RunStore) -> None:
        for stream in (STREAM, other):
            scene.commits.put(Input(Cause.JOIN, stream.id, payload=join_payload(stream)), Session.of(stream))
        scene.commits.put(batch(0, 3, first=True), scene.session)
        scene.commits.put(Input(Cause.BATCH, 1, 4, 2, records.encode(records.End("success"))), scene.session)
        scene.commits.put(Input(Cause.BATCH, 2, 0, 2, batch(0, 1, first=True).payload), Session.of(other))
        await scene.commits.settle()

    run(scene, play)
    refused = {stream: reason for outcome in scene.outcomes for stream, reason in outcome.refused.items()}
    assert refused.keys() == {1}
    assert "2 records whose payload holds 1" in refused[1]
    rows = {number: row for outcome in scene.outcomes for number, row in outcome.streams.items()}
    assert (rows[1].next_seq, rows[2].next_seq) == (4, 2)
    assert sorted(scene.values) == [0.0, 0.0, 1.0, 2.0]


def test_a_defect_in_the_store_is_told_and_not_swallowed(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "j.sqlite")

    async def play(_: RunStore) -> None:
        # A batch of a stream that never joined can only come from a defect of ours.
        scene.commits.put(batch(0, 1, first=True))
        await until(lambda: scene.broken)

    run(scene, play)
    assert "can't go on with this run" in scene.broken[0]


def test_the_runs_clock_stands_still_while_no_daemon_has_it(tmp_path: Path) -> None:
    scene = Scene(tmp_path / "j.sqlite")

    async def play(_: RunStore) -> None:
        scene.commits.put(Input(Cause.JOIN, 1, payload=join_payload(STREAM)), scene.session)
        await scene.commits.settle()

    run(scene, play)
    again = Scene(tmp_path / "j.sqlite", clock=lambda: time.monotonic() + 86_400.0)

    async def look(store: RunStore) -> None:
        before = store.last_now
        again.commits.put(Input(Cause.TICK))
        await again.commits.settle()
        last = store.journal.last_input()
        assert last is not None
        assert before < last.now < before + 10

    run(again, look)


def test_settling_does_not_wait_for_those_who_wait(tmp_path: Path) -> None:
    """A dead rank is buried, and with it goes what a living one waits for."""
    scene = Scene(tmp_path / "j.sqlite")
    scene.commits._interest = lambda: Interest(open_values=((1, None),))

    async def play(_: RunStore) -> None:
        scene.commits.put(Input(Cause.JOIN, 1, payload=join_payload(STREAM)), scene.session)
        scene.commits.wake()
        await scene.commits.settle()
        scene.commits.put(batch(0, 10, first=True), scene.session)
        await scene.commits.settle()
        assert len(scene.values) == 10

    run(scene, play)


def test_nobody_waits_for_commits_that_have_failed(tmp_path: Path) -> None:
    """Who buries a dead rank did, and with it all that wait for their turn."""
    scene = Scene(tmp_path / "j.sqlite")

    def trip(outcome: Outcome, work: Work) -> None:
        raise KeyError("a defect")

    async def play(_: RunStore) -> None:
        scene.commits._committed = trip
        scene.commits.put(Input(Cause.JOIN, 1, payload=join_payload(STREAM)), scene.session)
        await scene.commits.settle()
        with pytest.raises(JournalError, match="journaled no more: KeyError: 'a defect'"):
            await scene.commits.round()
        assert scene.broken == ["the daemon can't go on with this run (KeyError: 'a defect')"]

    run(scene, play)


@pytest.mark.parametrize("turns", range(6))
def test_it_closes_while_it_is_being_woken(tmp_path: Path, turns: int) -> None:
    """The cancellation was swallowed when it came with what the wait had waited for, and the daemon never ended."""
    scene = Scene(tmp_path / "j.sqlite")

    async def play(_: RunStore) -> None:
        join = replace(STREAM, world_size=2)
        scene.commits.put(Input(Cause.JOIN, 1, payload=join_payload(join)), scene.session)
        await scene.commits.settle()
        assert scene.commits.next_deadline is not None
        await asyncio.sleep(0)
        scene.commits.wake()
        for _turn in range(turns):
            await asyncio.sleep(0)

    run(scene, play)
