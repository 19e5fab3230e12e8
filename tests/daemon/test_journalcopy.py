"""Reading a journal beside the process that has it open, while that writes and moves its log."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from asynclogd import journalcopy
from asynclogd.entries import Commit
from asynclogd.journal import Journal, JournalBusyError
from asynclogd.journalcopy import copied, reading
from asynclogd.points import Params

WRITER = """
import os, sys
from pathlib import Path
from asynclogd import journalcopy
from asynclogd.entries import Commit
from asynclogd.journal import Journal
from asynclogd.points import Params
n = 0
with Journal.open(Path(sys.argv[1])) as journal:
    for line in sys.stdin:
        for _ in range(int(line)):
            n += 1
            fill = os.urandom(60_000)  # the same row each time: the log moves on, and the file does not grow
            journal.commit(Commit(items=[Params({"n": n})] * 3, facts={"n": n, "fill": fill}))
        print(n, flush=True)
"""

FAST = 1_000_000
"""So many commits are never over: the log is begun again several times a second."""

TO_THE_NEXT_LOG = 400
"""So many commits fill the log: it is moved into the file, and begun again."""


class Writer:
    """A process that has a journal open, and commits as often as it is told."""

    def __init__(self, path: Path) -> None:
        self.path = path
        command = [sys.executable, "-c", WRITER, str(path)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def begin(self, commits: int) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{commits}\n")
        self.process.stdin.flush()

    def commit(self, commits: int) -> int:
        """How many there are then."""
        self.begin(commits)
        assert self.process.stdout is not None
        return int(self.process.stdout.readline())


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    writer = Writer(tmp_path / "journal.sqlite")
    writer.commit(10)
    with writer.process:
        yield writer
        writer.process.kill()


def whole(journal: Journal) -> int:
    """How many commits a journal has: of each there is all, and none is missing."""
    commits: int = journal.facts()["n"]
    items = [item for _, item in journal.items(0, 1 << 30)]
    assert items == [Params({"n": n}) for n in range(1, commits + 1) for _ in range(3)]
    return commits


def test_a_copy_is_of_one_moment_however_fast_its_owner_writes(writer: Writer) -> None:
    writer.begin(FAST)
    seen = []
    for _ in range(12):
        with reading(writer.path) as (journal, live):
            assert live
            seen.append(whole(journal))
    assert seen == sorted(seen)
    assert [path.name for path in writer.path.parent.iterdir() if path.name.startswith(".reading")] == []


@pytest.mark.parametrize("behind", ["journal.sqlite", "journal.sqlite-wal"])
def test_a_log_that_is_begun_again_meanwhile_is_copied_again(
    writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, behind: str
) -> None:
    """Right behind the copying of one of the two files, the other one moves on."""
    copies: list[str] = []
    copy_file = journalcopy.copy_file

    def and_write(source: Path, target: Path) -> None:
        copy_file(source, target)
        if copies.count(behind) == 0 and source.name == behind:
            writer.commit(TO_THE_NEXT_LOG)
        copies.append(source.name)

    monkeypatch.setattr(journalcopy, "copy_file", and_write)
    (tmp_path / "there").mkdir()
    with Journal.open(copied(writer.path, tmp_path / "there")) as journal:
        assert whole(journal) == 10 + TO_THE_NEXT_LOG
    assert copies == ["journal.sqlite", "journal.sqlite-wal"] * 2


def test_one_that_never_rests_is_said(writer: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    copy_file = journalcopy.copy_file

    def and_write(source: Path, target: Path) -> None:
        copy_file(source, target)
        writer.commit(TO_THE_NEXT_LOG)

    monkeypatch.setattr(journalcopy, "copy_file", and_write)
    monkeypatch.setattr(journalcopy, "ATTEMPTS", 3)
    (tmp_path / "there").mkdir()
    with pytest.raises(JournalBusyError, match="changes faster than it can be copied"):
        copied(writer.path, tmp_path / "there")


def test_sqlite_finds_no_fault_with_a_copy(writer: Writer, tmp_path: Path) -> None:
    writer.begin(FAST)
    (tmp_path / "there").mkdir()
    copy = copied(writer.path, tmp_path / "there")
    with closing(sqlite3.connect(copy)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def test_a_journal_that_nobody_has_open_is_read_itself_and_not_changed(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    with Journal.open(path) as journal:
        journal.commit(Commit(items=[Params({"a": 1})]))
    before = path.read_bytes(), path.stat().st_mtime_ns
    with reading(path) as (journal, live):
        assert (journal.last_offset, live) == (1, False)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["journal.sqlite"]


def test_one_that_is_not_there_is_not_begun(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), reading(tmp_path / "journal.sqlite"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_one_that_was_opened_and_not_written_to_is_copied_too(writer: Writer, tmp_path: Path) -> None:
    writer.process.kill()
    writer.process.wait()
    opened = "import sys; from pathlib import Path; from asynclogd.journal import Journal\n"
    opened += "with Journal.open(Path(sys.argv[1])): print('open', flush=True); sys.stdin.read()"
    Journal.open(writer.path).close()
    command = [sys.executable, "-c", opened, str(writer.path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "open\n"
        with reading(writer.path) as (journal, live):
            assert live
            assert whole(journal) == 10
