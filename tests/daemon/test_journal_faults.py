"""A journal whose process is killed, whose disk is full, whose file is spoiled."""

from __future__ import annotations

import contextlib
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclogd import journalrows
from asynclogd.entries import Cause, Commit, Input
from asynclogd.journal import Journal, JournalCorruptError, JournalError
from tests.daemon import journal_process
from tests.daemon.journalcontent import content, scratch, written
from tests.daemon.tables import table


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


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


@pytest.mark.fault("disk-full")
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


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, dict[str, Any]]:
    """The file of a journal, and what it says."""
    path = tmp_path_factory.mktemp("sound") / "journal.sqlite"
    with Journal.open(path) as journal:
        for number in range(1, 40):
            journal.commit(journal_process.commit(number, 400 * number))
        return_value = content(journal)
    return path.read_bytes(), return_value


def content_or_error(path: Path) -> dict[str, Any] | JournalError:
    try:
        with Journal.open(path) as journal:
            return content(journal)
    except JournalError as error:
        return error


@pytest.mark.fault("files-damaged")
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
        found = content_or_error(path)
    if isinstance(found, JournalError):
        assert str(path) in str(found)
        return
    for part in ("inputs", "items", "streams", "cursors", "dead letters", "facts"):
        assert all(row in told[part] for row in found[part]), part
    assert found["snapshot"] in (None, told["snapshot"])


@pytest.mark.fault("files-damaged")
def test_a_flipped_bit_in_a_payload_is_named(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.commit(Commit(inputs=[Input(Cause.BATCH, payload=b"twenty-one is 21 here")]))
    path.write_bytes(path.read_bytes().replace(b"is 21 here", b"is 22 here"))
    with Journal.open(path) as journal, pytest.raises(JournalCorruptError, match="checksum of input 1"):
        list(journal.inputs(0))


@pytest.mark.fault("files-damaged")
@pytest.mark.parametrize("table", ["streams", "cursors", "facts", "dead_letters"])
@pytest.mark.parametrize("body", [b"\xc1", b"\x93\x01\x02\x03", b"\x90"])
def test_a_row_whose_checksum_fits_and_that_can_not_be_read_is_told_with_the_file(
    path: Path, table: str, body: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Who a stream is, and what backends there are, can't be done without; the others are left out."""
    if (table, body[0]) in (("facts", 0x93), ("facts", 0x90)):
        return  # a fact may be any value
    with Journal.open(path) as journal:
        journal._connection.execute(journalrows.PUT[table], journalrows.row(1 if table == "streams" else "x", body))
        if table in ("streams", "facts"):
            with pytest.raises(JournalCorruptError, match=str(path)):
                getattr(journal, table)()
        else:
            assert not getattr(journal, table)()
            assert f"{path}: {table} 'x' is spoiled, and left out" in caplog.text


@pytest.mark.fault("files-damaged")
def test_an_item_that_is_gone_is_named(path: Path) -> None:
    with Journal.open(path) as journal:
        journal.commit(Commit(items=[table(i) for i in range(5)]))
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("DELETE FROM items WHERE id = 3")
    with Journal.open(path) as journal:
        with pytest.raises(JournalCorruptError, match="row 3 is missing"):
            journal.items(0, 1 << 20)
        with pytest.raises(JournalCorruptError, match="row 3 is missing"):
            journal.items(2, 1 << 20)
        assert [offset for offset, _ in journal.items(3, 1 << 20)] == [4, 5]
