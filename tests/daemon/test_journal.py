from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclog_proto import wire
from asynclog_proto.errors import ProtocolError, UnsafePathError
from asynclogd import journalrows, layouts
from asynclogd.entries import Cause, Commit, Cursor, DeadLetter, Input, Stream
from asynclogd.journal import Journal, JournalBusyError, JournalCorruptError
from asynclogd.points import Item, Points, RunEnd
from tests.daemon.journalcontent import content, scratch, written
from tests.daemon.tables import COUNTS, ITEMS, MAPS, NAMES, identity, table

INTEGERS = st.integers(0, 2**63 - 1)
INPUTS = st.builds(
    Input,
    cause=st.sampled_from(Cause),
    stream=INTEGERS,
    first_seq=INTEGERS,
    count=INTEGERS,
    payload=st.binary(max_size=50),
    now=st.floats(0, 1e18),
)
STREAMS = st.builds(
    Stream, id=st.integers(0, 5), rank=COUNTS, world_size=COUNTS, incarnation=NAMES, launch=NAMES, host=NAMES,
    pid=COUNTS, ring=NAMES, spool=NAMES, next_seq=INTEGERS, state=st.sampled_from(["live", "ended", "dead"]),
    issued=INTEGERS, dropped=st.dictionaries(NAMES, INTEGERS, max_size=2), lost=INTEGERS,
)  # fmt: skip
CURSORS = st.builds(
    Cursor, offset=INTEGERS, position=st.none() | MAPS, limiter=st.binary(max_size=20), delivered=INTEGERS,
    limited=INTEGERS, dead=INTEGERS, points=INTEGERS,
)  # fmt: skip
COMMITS = st.builds(
    Commit,
    inputs=st.lists(INPUTS, max_size=3),
    items=st.lists(ITEMS, max_size=3),
    streams=st.lists(STREAMS, max_size=2),
    cursors=st.dictionaries(NAMES, CURSORS, max_size=2),
    dead_letters=st.lists(st.builds(DeadLetter, NAMES, INTEGERS, st.text(max_size=9)), max_size=2),
    facts=MAPS,
    snapshot=st.none() | st.binary(max_size=50),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


def same(told: dict[str, Any], expected: dict[str, Any]) -> bool:
    """Dead letters of one offset have no order of their own."""
    return {**told, "dead letters": sorted(told["dead letters"])} == {
        **expected,
        "dead letters": sorted(expected["dead letters"]),
    }


@given(st.lists(COMMITS, max_size=4))
@settings(max_examples=40)
def test_what_was_committed_is_there_before_and_after_a_reopening(commits: list[Commit]) -> None:
    with scratch() as path:
        with Journal.open(path) as journal:
            for commit in commits:
                first = journal.last_offset + 1
                assert journal.commit(commit) == list(range(first, first + len(commit.items)))
            assert same(content(journal), written(commits))
        with Journal.open(path) as journal:
            assert same(content(journal), written(commits))


@pytest.mark.parametrize("durability", ["process", "fsync"])
def test_offsets_go_on_after_a_reopening(path: Path, durability: str) -> None:
    for expected in ([1, 2], [3, 4]):
        with Journal.open(path, durability) as journal:
            assert journal.commit(Commit(items=[table(0), RunEnd("success")])) == expected


def test_a_commit_that_fails_half_way_leaves_nothing_and_may_be_repeated(path: Path) -> None:
    bad = Commit(inputs=[Input(Cause.TICK)], items=[table(0, names=("new",))], facts={"not packable": object()})
    with Journal.open(path) as journal:
        journal.commit(Commit(items=[table(0)]))
        before = content(journal)
        with pytest.raises(ProtocolError):
            journal.commit(bad)
        assert content(journal) == before
        bad.facts.clear()
        assert journal.commit(bad) == [2]
        assert identity(journal.items(1, 1)[0][1]) == identity(bad.items[0])


def test_a_journal_that_is_open_elsewhere_is_busy(path: Path) -> None:
    command = [sys.executable, "-m", "tests.daemon.journal_process", str(path), "64"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(JournalBusyError, match=str(path)):
            Journal.open(path)
        process.kill()
    Journal.open(path).close()


def test_a_journal_that_this_process_has_open_is_busy_and_stays_locked(path: Path) -> None:
    """Closing any descriptor of the file would drop the first one's locks: POSIX."""
    script = (
        "import sys; from pathlib import Path; from asynclogd.journal import Journal; Journal.open(Path(sys.argv[1]))"
    )
    with Journal.open(path) as journal:
        with pytest.raises(JournalBusyError):
            Journal.open(path)
        done = subprocess.run([sys.executable, "-c", script, path], capture_output=True, text=True, check=False)
        assert "JournalBusyError" in done.stderr
        assert journal.commit(Commit(items=[table(0)])) == [1]


def test_another_database_is_refused_and_left_alone(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE mine (x)")
    with pytest.raises(JournalCorruptError, match="not a journal"):
        Journal.open(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]


def test_another_file_is_refused(path: Path) -> None:
    path.write_bytes(b"step,loss\n" * 1000)
    with pytest.raises(JournalCorruptError, match=str(path)):
        Journal.open(path)


def test_an_empty_file_is_a_new_journal(path: Path) -> None:
    """What a crash between making the file and its tables leaves."""
    path.touch(0o600)
    with Journal.open(path) as journal:
        assert journal.commit(Commit(items=[table(0)])) == [1]


def test_only_this_user_may_read_it_whatever_the_umask(path: Path) -> None:
    before = os.umask(0)
    try:
        with Journal.open(path) as journal:
            journal.commit(Commit(items=[table(0)]))
            for file in path.parent.iterdir():
                assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    finally:
        os.umask(before)


def test_a_symlink_is_refused(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePathError):
        Journal.open(path)


def test_an_unknown_durability_is_refused(path: Path) -> None:
    with pytest.raises(ValueError, match="process or fsync"):
        Journal.open(path, "none")


def test_items_come_in_helpings_of_bytes_but_at_least_one(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.commit(Commit(items=[table(i, k=10) for i in range(10)]))
        assert [offset for offset, _ in journal.items(0, 1)] == [1]
        assert [offset for offset, _ in journal.items(3, 1200)] == [4, 5, 6]
        assert journal.items(10, 1 << 20) == []


def test_inputs_are_read_lazily_while_commits_go_on(path: Path) -> None:
    def entries(first: int) -> list[Input]:
        return [Input(Cause.BATCH, 1, first + i, 1, bytes(1 << 20), 0.0) for i in range(10)]

    with Journal.open(path) as journal:
        journal.commit(Commit(inputs=entries(0)))
        reading = journal.inputs(2)
        assert next(reading)[0] == 3
        journal.commit(Commit(inputs=entries(10)))
        assert [number for number, _ in reading] == list(range(4, 21))


def test_a_name_is_stored_once(path: Path) -> None:
    names = tuple(f"{i:04}" + "x" * 500 for i in range(100))
    with Journal.open(path) as journal:
        for step in range(100):
            journal.commit(Commit(items=[table(step, names=names[: 1 + step])]))
        assert [len(item.names) for _, item in journal.items(0, 1 << 30) if isinstance(item, Points)] == list(
            range(1, 101)
        )
    assert path.stat().st_size < 100 * 504 + 100 * 100 * 12 + (128 << 10)


def test_layouts_that_left_the_cache_are_read_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "CACHED_NAMES", 4)
    items: list[Item] = [table(i, names=(f"x{i % 5}", "y", f"z{i % 7}")) for i in range(70)]
    with Journal.open(path) as journal:
        journal.commit(Commit(items=items))
        assert [identity(item) for _, item in journal.items(0, 1 << 30)] == [identity(item) for item in items]


def test_a_stream_of_an_older_journal_is_read() -> None:
    stream = Stream(
        3, 1, 2, "inc", "launch", "host", 7, "/ring", "/spool", 5, "dead", 9, {"ring_full": 1}, 2, "/outbox", 1.5, True
    )
    fields = wire.unpack(journalrows.pack_stream(stream))
    assert journalrows.read_stream(3, wire.pack(fields)) == stream
    assert journalrows.read_stream(3, wire.pack(fields[:-1])) == replace(stream, afar=False)
    assert journalrows.read_stream(3, wire.pack(fields[:-2])) == replace(stream, began=0.0, afar=False)
    assert journalrows.read_stream(3, wire.pack(fields[:-3])) == replace(stream, outbox="", began=0.0, afar=False)
    for wrong in (fields[:-4], [*fields, 0]):
        with pytest.raises(ProtocolError):
            journalrows.read_stream(3, wire.pack(wrong))
