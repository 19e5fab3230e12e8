"""The store of a run's journal, where it can't be had."""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from asynclogd import mending
from asynclogd.journal import Journal
from asynclogd.journalfile import JournalDiskError, named
from asynclogd.reducer import ReducerSettings
from asynclogd.store import RunStore


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
