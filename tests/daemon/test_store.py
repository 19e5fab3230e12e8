"""The store of a run's journal: where it can't be had, and what its snapshots cost."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynclog_proto.records import Layout, Record, Row, encode
from asynclogd import mending, store
from asynclogd.entries import Cause, Input, Stream
from asynclogd.journal import Journal
from asynclogd.journalfile import JournalDiskError, named
from asynclogd.reducer import ReducerSettings
from asynclogd.state import join_payload
from asynclogd.store import SNAPSHOTS_APART, RunStore, Work


@pytest.fixture
def uncollected() -> Iterator[None]:
    """What is let go of only by the collector is not let go of."""
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("uncollected")
def test_a_journal_that_can_not_be_read_now_is_not_kept_from_who_asks_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "journal.sqlite"

    def fails(*_: object) -> None:
        raise JournalDiskError("its disk fails")

    with monkeypatch.context() as now:
        now.setattr(mending, "restored", fails)
        with pytest.raises(JournalDiskError):
            RunStore(path, "process", ReducerSettings())
    RunStore(path, "process", ReducerSettings()).close()
    Journal.open(path, durability="process").close()


@pytest.mark.parametrize("said", ["disk I/O error", "unable to open database file"])
def test_what_passes_is_an_os_error(said: str, tmp_path: Path) -> None:
    """The second is also what SQLite says when no file descriptor is left."""
    with pytest.raises(OSError, match=said), named(tmp_path):
        raise sqlite3.OperationalError(said)


def test_snapshots_take_a_part_of_what_comes_in_however_large_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The closed steps that are kept are many times a row; written at a fixed distance they cost more than the rows."""
    monkeypatch.setattr(store, "SNAPSHOT_BYTES", 1)
    names, steps = tuple(f"m{number}" for number in range(50)), 400
    stream, run = Stream(1, 0, 1, "i0", "L", "host", 1, "", ""), RunStore(tmp_path / "j", "process", ReducerSettings())
    run.commit(Work([Input(Cause.JOIN, 1, payload=join_payload(stream))], {1: stream}))
    before = run.journal.snapshot()
    assert before is not None
    came, since, seen, written = 0, 0, before[0], [len(before[1])]
    for step in range(steps):
        said: list[Record] = [*([Layout(0, names)] if step == 0 else []), Row(0, step, 0.0, 1.0, (1.0,) * len(names))]
        payload = b"".join(encode(each) for each in said)
        run.commit(Work([Input(Cause.BATCH, 1, stream.next_seq, len(said), payload, now=float(step))], {1: stream}))
        stream.next_seq += len(said)
        came, since = came + len(payload), since + len(payload)
        latest = run.journal.snapshot()
        if latest is not None and latest[0] != seen:
            assert since >= SNAPSHOTS_APART * written[-1]
            seen, since = latest[0], 0
            written.append(len(latest[1]))
    assert len(written) > 5
    assert sum(written[:-1]) <= came / SNAPSHOTS_APART
    state = run.state.snapshot()
    run.journal.close()  # as a daemon that is killed leaves it
    again = RunStore(tmp_path / "j", "process", ReducerSettings())
    assert again.state.snapshot() == state
    again.close()
