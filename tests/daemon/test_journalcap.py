"""At its cap a journal takes nothing more that comes in, and what backends have done all the same."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from asynclogd.entries import Cause, Cursor, Input
from asynclogd.incidents import of
from asynclogd.journalcap import JournalCap
from asynclogd.state import join_payload
from asynclogd.store import RunStore
from tests.daemon.test_committer import STREAM, Scene, batch, run

MIB = 1 << 20


async def fill(scene: Scene) -> int:
    """A rank's rows until the journal takes no more: so many records are in it."""
    scene.commits.put(Input(Cause.JOIN, 1, payload=join_payload(STREAM)), scene.session)
    sent = 0
    while not scene.commits.error:
        scene.commits.put(batch(sent, 1000, first=sent == 0), scene.session)
        sent += 1000 + (sent == 0)
        await scene.commits.round()
    assert "daemon.max_journal_mb" in scene.commits.error
    return sent


@pytest.mark.cap("journal")
def test_at_the_cap_ranks_wait_and_backends_go_on_and_with_a_larger_one_nothing_is_lost(tmp_path: Path) -> None:
    scene, again = Scene(tmp_path / "j.sqlite", most_mb=1), Scene(tmp_path / "j.sqlite")
    sent = 0

    async def play(store: RunStore) -> None:
        nonlocal sent
        sent = await fill(scene)
        for offset in (5, 6):
            scene.commits.put(batch(sent, 1000), scene.session)
            scene.commits.work.cursors["file"] = Cursor(offset=offset)
            scene.commits.work.facts["backends"] = offset
            await scene.commits.settle()
            cursors, facts = await scene.commits.in_thread(lambda: (store.journal.cursors(), store.journal.facts()))
            assert (cursors["file"].offset, facts["backends"]) == (offset, offset)
        assert not scene.commits.settled
        assert len(scene.values) == sent - 1
        assert store.journal.size < 3 * MIB

    run(scene, play)

    async def go_on(_: RunStore) -> None:
        again.commits.put(Input(Cause.JOIN, 1, payload=join_payload(STREAM)), again.session)
        again.commits.put(batch(sent, 1000), again.session)
        await again.commits.settle()
        assert again.commits.error == ""

    run(again, go_on)
    assert len(again.values) == 1000
    assert not set(scene.values) & set(again.values)


@pytest.mark.cap("journal")
def test_no_step_closes_by_its_deadline_while_what_ranks_sent_of_it_is_withheld(tmp_path: Path) -> None:
    """Their values would be late when they come in."""
    scene = Scene(tmp_path / "j.sqlite", most_mb=1)

    async def play(_: RunStore) -> None:
        await fill(scene)
        scene.commits.put(batch(10**6, 10), scene.session)
        scene.commits.next_deadline = 0.0
        await scene.commits.round()
        await scene.commits.round()
        assert [entry.cause for entry in scene.commits.work.inputs] == [Cause.BATCH]

    run(scene, play)


def test_it_is_said_when_it_is_near_and_when_it_is_reached_from_where_on_it_holds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.WARNING)
    cap = JournalCap("p/run", 10)
    for mib in (8, 9, 9):
        cap.weigh(mib * MIB)
    assert not cap.full
    for mib in (10, 11, 0):
        cap.weigh(mib * MIB)
    assert "Restart the daemon with a larger cap" in cap.full
    assert [of(record).incident for record in caplog.records] == ["journal-nearly-full", "journal-full"]
    assert caplog.messages[0] == "run p/run: the journal has 90% of the 10 MiB that it may have (daemon.max_journal_mb)"
