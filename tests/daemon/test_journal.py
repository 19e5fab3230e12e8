from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclog_proto.errors import ProtocolError, UnsafePathError
from asynclogd import layouts
from asynclogd.entries import Cause, Commit, Cursor, DeadLetter, Input, Stream
from asynclogd.journal import Journal, JournalBusyError, JournalCorruptError, JournalError, JournalVersionError
from asynclogd.points import Item, Points, RunEnd
from tests.daemon import journal_process
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


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A path for one example of Hypothesis."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "journal.sqlite"


def content(journal: Journal) -> dict[str, Any]:
    """Everything that a journal tells, comparable."""
    return {
        "inputs": [repr(entry) for entry in journal.inputs(0)],
        "items": [(offset, identity(item)) for offset, item in journal.items(0, 1 << 30)],
        "streams": [repr(stream) for stream in journal.streams()],
        "cursors": sorted((name, repr(cursor)) for name, cursor in journal.cursors().items()),
        "dead letters": [repr(letter) for letter in journal.dead_letters()],
        "facts": sorted((name, repr(fact)) for name, fact in journal.facts().items()),
        "snapshot": journal.snapshot(),
        "last offset": journal.last_offset,
    }


def written(commits: list[Commit]) -> dict[str, Any]:
    """What `content` should be after some commits."""
    inputs = [entry for commit in commits for entry in commit.inputs]
    items: list[Item] = [item for commit in commits for item in commit.items]
    streams = {stream.id: stream for commit in commits for stream in commit.streams}
    cursors = {name: cursor for commit in commits for name, cursor in commit.cursors.items()}
    facts = {name: fact for commit in commits for name, fact in commit.facts.items()}
    letters = {repr(letter): letter for commit in commits for letter in commit.dead_letters}
    snapshot, count = None, 0
    for commit in commits:
        count += len(commit.inputs)
        snapshot = snapshot if commit.snapshot is None else (count, commit.snapshot)
    return {
        "inputs": [repr(entry) for entry in enumerate(inputs, 1)],
        "items": [(offset, identity(item)) for offset, item in enumerate(items, 1)],
        "streams": [repr(streams[number]) for number in sorted(streams)],
        "cursors": sorted((name, repr(cursor)) for name, cursor in cursors.items()),
        "dead letters": sorted(letters, key=lambda text: (letters[text].backend, letters[text].offset)),
        "facts": sorted((name, repr(fact)) for name, fact in facts.items()),
        "snapshot": snapshot,
        "last offset": len(items),
    }


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


FULL_DISK = """
import resource, signal, sqlite3, sys
from pathlib import Path
from asynclogd.journal import Journal
from tests.daemon.journal_process import commit
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
with Journal.open(Path(sys.argv[1])) as journal:
    journal.commit(commit(1, 10_000))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (journal.size, limits[1]))
    for _ in range(2):
        try:
            journal.commit(commit(2, 1 << 20))
        except (sqlite3.Error, OSError) as error:
            print(type(error).__name__)
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    print(journal.commit(commit(2, 1 << 20)))
"""


def test_a_full_disk_refuses_the_commit_and_a_freed_one_takes_it(path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", FULL_DISK, path], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n") == ["OperationalError", "OperationalError", "[3, 4]", ""]
    with Journal.open(path) as journal:
        expected = written([journal_process.commit(1, 10_000), journal_process.commit(2, 1 << 20)])
        assert content(journal) == expected


@pytest.mark.parametrize(("payload_bytes", "commits"), [(64, 1), (64, 40), (50_000, 25), (200_000, 120)])
def test_a_killed_process_leaves_all_that_it_reported_and_nothing_half(
    path: Path, payload_bytes: int, commits: int
) -> None:
    """The largest ones are killed while SQLite moves its WAL into the database now and then."""
    command = [sys.executable, "-m", "tests.daemon.journal_process", str(path), str(payload_bytes)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(commits):
            process.stdout.readline()
        process.send_signal(signal.SIGKILL)
        reported = commits + len(process.stdout.read().split("\n")) - 1
    with Journal.open(path) as journal:
        told = content(journal)
    count = len(told["inputs"])
    assert count in (reported, reported + 1)
    assert told == written([journal_process.commit(n, payload_bytes) for n in range(1, count + 1)])


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


def test_a_newer_format_is_refused(path: Path) -> None:
    Journal.open(path).close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 2")
    with pytest.raises(JournalVersionError, match="use a newer one"):
        Journal.open(path)


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


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Any]]:
    """The file of a journal, and what it says."""
    path = tmp_path_factory.mktemp("sound") / "journal.sqlite"
    with Journal.open(path) as journal:
        for number in range(1, 40):
            journal.commit(journal_process.commit(number, 400 * number))
        return_value = content(journal)
    return path.read_bytes(), return_value


@given(st.data())
@settings(max_examples=200)
def test_a_spoiled_file_gives_an_error_or_what_was_written(sound: Any, data: st.DataObject) -> None:
    """Never another value than was written; SQLite itself does not notice a flipped bit in a blob."""
    whole, told = sound
    spoiled = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 3))):
        spoiled[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    if data.draw(st.booleans()):
        del spoiled[data.draw(st.integers(0, len(whole))) :]
    with scratch() as path:
        path.write_bytes(spoiled)
        try:
            with Journal.open(path) as journal:
                found = content(journal)
        except JournalError as error:
            assert str(path) in str(error)
            return
    for part in ("inputs", "items", "streams", "cursors", "dead letters", "facts"):
        assert all(row in told[part] for row in found[part]), part
    assert found["snapshot"] in (None, told["snapshot"])


def test_a_flipped_bit_in_a_payload_is_named(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.commit(Commit(inputs=[Input(Cause.BATCH, payload=b"twenty-one is 21 here")]))
    path.write_bytes(path.read_bytes().replace(b"is 21 here", b"is 22 here"))
    with Journal.open(path) as journal, pytest.raises(JournalCorruptError, match="checksum of input 1"):
        list(journal.inputs(0))


def test_an_item_that_is_gone_is_named(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.commit(Commit(items=[table(i) for i in range(5)]))
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM items WHERE id = 3")
    with Journal.open(path) as journal:
        with pytest.raises(JournalCorruptError, match="row 3 is missing"):
            journal.items(0, 1 << 20)
        assert [offset for offset, _ in journal.items(3, 1 << 20)] == [4, 5]
