"""The power fails while a journal is written: whatever has reached the disk by then, what was acked is there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclogd.journal import Journal
from tests.daemon import journal_process
from tests.daemon.journalcontent import content, written

COMMITS = 30


class Recording(NamedTuple):
    """A journal's files, and how long its log was when each commit had returned."""

    database: bytes
    log: bytes
    acked: list[int]


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recording]:
    """All commits are still in the log: SQLite has moved none of them into the database."""
    path = tmp_path_factory.mktemp("power") / "journal.sqlite"
    log = path.with_name("journal.sqlite-wal")
    acked = []
    with Journal.open(path, "fsync") as journal:
        assert journal._connection.execute("PRAGMA synchronous").fetchone() == (2,)  # FULL: the log is synced each time
        for number in range(1, COMMITS + 1):
            journal.commit(journal_process.commit(number, 3000))
            acked.append(log.stat().st_size)
        assert acked == sorted(set(acked))
        yield Recording(path.read_bytes(), log.read_bytes(), acked)


def expected(commits: int) -> dict[str, Any]:
    return written([journal_process.commit(number, 3000) for number in range(1, commits + 1)])


@pytest.mark.fault("power-lost")
@given(st.data())
@settings(max_examples=100)
def test_every_prefix_of_the_writes_has_what_was_acked_by_then(recording: Recording, data: st.DataObject) -> None:
    """The rest of the log is missing, or has the right length and nothing in it, as some file systems leave it."""
    database, log, acked = recording
    reached = data.draw(st.integers(acked[0], len(log)))
    tail = data.draw(st.sampled_from([b"", bytes(len(log) - reached), bytes(range(256)) * 16]))
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "journal.sqlite"
        path.write_bytes(database)
        path.with_name("journal.sqlite-wal").write_bytes(log[:reached] + tail)
        with Journal.open(path, "fsync") as journal:
            told = content(journal)
            following = journal.commit(journal_process.commit(len(told["inputs"]) + 1, 3000))
    whole = sum(size <= reached for size in acked)
    assert told == expected(whole)
    assert following == [2 * whole + 1, 2 * whole + 2]
