"""Target: a journal's file that was spoiled. What is read from it is what was written, or an error names the file."""

from __future__ import annotations

import contextlib
import sqlite3
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from asynclogd import journalrows
from asynclogd.entries import Cursor, DeadLetter, Stream
from asynclogd.journal import Journal, JournalError
from asynclogd.points import Blob, Media, Params, Rewind, RunEnd, Summary
from tests.daemon import journal_process
from tests.daemon.journalcontent import content
from tests.fuzz.pieces import split

FLIP, WRITE, CUT, ZEROS, ROW = range(5)
"""What an edit does: to a byte, to some, to the file's end, to a stretch; to a row, whose checksum fits afterwards."""

MOST_EDITS = 8
_HEAD = struct.Struct(">BI")
_TABLES = ("items", "streams", "cursors", "facts", "dead_letters", "snapshot")

Told = dict[str, Any]


def edit(kind: int, place: int, what: bytes) -> bytes:
    """One piece of what the target takes. `place` is reckoned modulo the file's bytes, or the tables' rows."""
    return _HEAD.pack(kind, place) + what


@contextlib.contextmanager
def opened() -> Iterator[Callable[[bytes], None]]:
    """The target: `data` is edits, as pieces."""
    with tempfile.TemporaryDirectory(prefix="al-journal-") as folder:
        path = Path(folder, "journal.sqlite")
        told = _write(path)
        whole = path.read_bytes()
        yield lambda data: _run(path, whole, told, data)


def _write(path: Path) -> Told:
    """A journal with each kind of row."""
    with Journal.open(path) as journal:
        for number in range(1, 12):
            commit = journal_process.commit(number, 64)
            commit.streams = [Stream(number, 0, 2, f"i{number}", "L", "host", 7, "/r", "/s", number, dropped={"x": 1})]
            commit.cursors["jsonl"] = Cursor(number, {"bytes": 12}, b"limiter", 1, 2, 3, 4)
            commit.dead_letters = [DeadLetter("csv", number, "no")]
            commit.items += [
                Params({"lr": 0.1, "on": True, "none": None}),
                Summary({"best": "yes"}),
                Rewind(number, 1),
                Media("note", 1, 2.0, "text", "text/markdown", {"a": [1]}, Blob("00" * 16, 1, 36, 5)),
                RunEnd("success"),
            ]
            journal.commit(commit)
        return content(journal)


def _run(path: Path, whole: bytes, told: Told, data: bytes) -> None:
    edits = [piece for piece in split(data, MOST_EDITS) if len(piece) >= _HEAD.size]
    path.write_bytes(_spoiled(whole, edits))
    rows = [piece for piece in edits if _HEAD.unpack_from(piece)[0] % 5 == ROW]
    with contextlib.suppress(sqlite3.Error, UnicodeDecodeError):  # the file is spoiled beyond SQLite's help
        _change_rows(path, rows)
    try:
        with Journal.open(path) as journal:
            found = content(journal)
    except JournalError as error:
        assert str(path) in str(error)
        return
    finally:
        for left in path.parent.iterdir():
            left.unlink()
    if rows:  # their checksums fit: it is what was written, as far as anybody knows
        return
    for part in ("inputs", "items", "streams", "cursors", "dead letters", "facts"):
        assert all(row in told[part] for row in found[part]), part
    assert found["snapshot"] in (None, told["snapshot"])


def _spoiled(whole: bytes, edits: list[bytes]) -> bytes:
    file = bytearray(whole)
    for piece in edits:
        kind, place = _HEAD.unpack_from(piece)
        what = piece[_HEAD.size :]
        at = place % max(1, len(file))
        if kind % 5 == FLIP and file:
            file[at] ^= (what or b"\x01")[0]
        elif kind % 5 == WRITE:
            file[at : at + len(what)] = what
        elif kind % 5 == CUT:
            del file[at:]
        elif kind % 5 == ZEROS:
            size = min(16 * len(what), len(file) - at)
            file[at : at + size] = bytes(size)
    return bytes(file)


def _change_rows(path: Path, edits: list[bytes]) -> None:
    if not edits:
        return
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as connection, connection:
        for piece in edits:
            _, place = _HEAD.unpack_from(piece)
            table = _TABLES[place % len(_TABLES)]
            rows = connection.execute(f"SELECT id FROM {table} ORDER BY id")  # noqa: S608 - ours
            keys = [key for (key,) in rows if isinstance(key, (int, str))]
            if keys:
                connection.execute(
                    journalrows.PUT.get(table, "INSERT OR REPLACE INTO items VALUES (?, ?, ?)"),
                    journalrows.row(keys[place // len(_TABLES) % len(keys)], piece[_HEAD.size :]),
                )
