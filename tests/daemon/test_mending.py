"""A journal whose rows are spoiled: what it holds twice is made anew, what is lost is counted, the rest is there."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclog_proto import records
from asynclog_proto.records import End, Layout, Row
from asynclogd import itemcodec, journalrows, mending
from asynclogd.entries import Cause, Input, Stream
from asynclogd.journal import Journal, JournalCorruptError, JournalError
from asynclogd.points import Item, Lost, Points, logged
from asynclogd.reducer import ReducerSettings
from asynclogd.state import RunState, join_payload
from asynclogd.store import RunStore, Work
from asynclogd.tail import ReadItems
from tests.daemon.journalcontent import scratch

pytestmark = pytest.mark.fault("files-damaged")

STEPS, WORLD = 12, 2
SETTINGS = ReducerSettings()


def streams() -> list[Stream]:
    return [Stream(rank + 1, rank, WORLD, f"i{rank}", "L", "host", 1, "", "") for rank in range(WORLD)]


def batch(stream: Stream, now: float, *said: records.Record) -> Input:
    payload = b"".join(map(records.encode, said))
    return Input(Cause.BATCH, stream.id, stream.next_seq, len(said), payload, now=now)


def rows(stream: Stream, step: int) -> list[records.Record]:
    return [Row(0, step, 0.0, 1.0, (float(step), float(stream.rank)))]


def begun(path: Path, ranks: list[Stream]) -> RunStore:
    """A store whose two ranks have logged a step and its layout in each commit, but have not ended."""
    store = RunStore(path, "process", SETTINGS)
    for stream in ranks:
        join = Input(Cause.JOIN, stream.id, payload=join_payload(stream))
        store.commit(Work(inputs=[join], streams={stream.id: stream}))
    for step in range(STEPS):
        inputs = []
        for stream in ranks:
            said = [*([Layout(0, ("loss", "rank"))] if step == 0 else []), *rows(stream, step)]
            inputs.append(batch(stream, 10.0 + step, *said))
            stream.next_seq += len(said)
            stream.issued += 2
        store.commit(Work(inputs=inputs, streams={stream.id: stream for stream in ranks}))
    return store


def killed(path: Path) -> list[Stream]:
    """The journal of a daemon that was killed: no snapshot, the last step is open."""
    ranks = streams()
    store = begun(path, ranks)
    store.journal.close()
    return ranks


def ended(path: Path) -> None:
    """The journal of a run that has ended, by a daemon that has."""
    ranks = streams()
    store = begun(path, ranks)
    inputs = [batch(stream, 100.0 + stream.rank, End("success")) for stream in ranks]
    for stream in ranks:
        stream.next_seq, stream.state = stream.next_seq + 1, "ended"
    store.commit(Work(inputs=inputs, streams={stream.id: stream for stream in ranks}))
    store.close()


def spoil(path: Path, table: str, numbers: Iterable[int], column: str = "body") -> None:
    """Flip a bit in each of these rows, which SQLite does not notice."""
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        for number in numbers:
            (body,) = connection.execute(f"SELECT {column} FROM {table} WHERE id = ?", (number,)).fetchone()  # noqa: S608 - ours
            flipped = bytes([*body[:-1], body[-1] ^ 4])
            connection.execute(f"UPDATE {table} SET {column} = ? WHERE id = ?", (flipped, number))  # noqa: S608 - ours


def remove(path: Path, table: str, numbers: Iterable[int]) -> None:
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(f"DELETE FROM {table} WHERE id = ?", [(number,) for number in numbers])  # noqa: S608 - ours


def told(items: Iterable[tuple[int, Item]]) -> list[tuple[int, object]]:
    """Items so that they can be compared."""
    return [(offset, (getattr(item, "names", None), itemcodec.encode(item, lambda _: 0))) for offset, item in items]


def read(path: Path) -> list[tuple[int, Item]]:
    with Journal.open(path) as journal:
        return all_of(mending.Items(journal, SETTINGS).read, journal.last_offset)


def all_of(reads: ReadItems, last: int) -> list[tuple[int, Item]]:
    found: list[tuple[int, Item]] = []
    while len(found) < last:
        found += reads(len(found), 1 << 30)
    return found


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.sqlite"


@given(st.data())
@settings(max_examples=30, deadline=None)
def test_items_that_are_spoiled_or_gone_are_made_anew(data: st.DataObject) -> None:
    with scratch() as path:
        ended(path)
        sound = told(read(path))
        offsets = [offset for offset, _ in sound]
        bad = data.draw(st.sets(st.sampled_from(offsets)))
        gone = data.draw(st.sets(st.sampled_from(offsets[:-1])))  # of the last one nothing tells that it was there
        spoil(path, "items", bad)
        remove(path, "items", gone)
        assert told(read(path)) == sound


def test_it_is_told_that_nothing_is_lost(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ended(path)
    spoil(path, "items", [3])
    read(path)
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{path}: 1 items are spoiled")
    assert "the checksum of row 3 is wrong" in line
    assert "made anew from the inputs, nothing is lost" in line


def test_a_snapshot_that_is_spoiled_is_not_needed(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    ended(path)
    with contextlib.closing(RunStore(path, "process", SETTINGS)) as store:
        before = store.state.snapshot()
    spoil(path, "snapshot", [_last_input(path)])
    with contextlib.closing(RunStore(path, "process", SETTINGS)) as store:
        assert store.state.snapshot() == before
    assert "snapshot" in caplog.text


def test_the_newest_input_may_be_spoiled_once_a_snapshot_stands_after_it(path: Path) -> None:
    ended(path)
    spoil(path, "inputs", [_last_input(path)], "payload")
    with contextlib.closing(RunStore(path, "process", SETTINGS)) as store:
        assert store.last_now == 100.0, "it is that of the one before"


def _last_input(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (last,) = connection.execute("SELECT max(id) FROM inputs").fetchone()
    return int(last)


@pytest.mark.parametrize("harm", [spoil, remove])
@pytest.mark.parametrize("number", [1, 2, *range(3, 3 + WORLD * STEPS, 5)])
def test_without_an_input_that_its_state_takes_a_run_does_not_go_on_and_its_items_are_read(
    path: Path, harm: Callable[..., None], number: int
) -> None:
    """What it would go on with is not known: a step could be closed again, with another value."""
    killed(path)
    sound = read(path)
    harm(path, "inputs", [number], *(["payload"] if harm is spoil else []))
    what = f"input {number}" if harm is spoil else f"row {number}"
    with pytest.raises(JournalCorruptError, match=rf"{what}.*: the run can't go on, .* `asynclog export` and `replay`"):
        RunStore(path, "process", SETTINGS)
    assert told(read(path)) == told(sound)


def test_what_can_not_be_made_anew_is_counted_and_the_rest_is_read(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """An input and two items that came of it or later are spoiled."""
    ended(path)
    sound = read(path)
    points = [offset for offset, item in sound if isinstance(item, Points)]
    bad = [points[5], points[6]]
    spoil(path, "items", bad)
    spoil(path, "inputs", [8], "payload")
    found = read(path)
    assert told([each for each in found if each[0] not in bad]) == told([each for each in sound if each[0] not in bad])
    lost = [item for offset, item in found if offset in bad]
    assert all(isinstance(item, Lost) and "spoiled" in item.reason for item in lost)
    assert sum(map(logged, lost)) == sum(logged(item) for offset, item in sound if offset in bad)
    assert "2 items are spoiled" in caplog.text


def test_what_a_reducer_makes_that_does_not_make_the_sound_ones_is_not_believed(path: Path) -> None:
    """A tick that is sound is in the place of a batch: another history."""
    ended(path)
    sound = read(path)
    points = [offset for offset, item in sound if isinstance(item, Points)]
    tick = journalrows.input_row(5, Input(Cause.TICK, now=11.0))
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(journalrows.INSERT_INPUT.replace("INSERT", "REPLACE"), tick)
    spoil(path, "items", [points[-1]])
    assert dict(read(path))[points[-1]] == Lost(logged(dict(sound)[points[-1]]), mending.REASON)


def test_an_offset_that_is_spoiled_is_an_error(path: Path) -> None:
    """SQLite finds its rows in another order then: which ones are there is not known."""
    ended(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE items SET id = 100000 WHERE id = 5")
    with pytest.raises(JournalCorruptError, match="row 100000 comes after row"):
        read(path)


def test_who_is_spoiled_beyond_its_rows_is_an_error_that_names_the_file(path: Path) -> None:
    ended(path)
    content = bytearray(path.read_bytes())
    content[8192 : 3 * 8192] = bytes(2 * 8192)
    path.write_bytes(content)
    with pytest.raises(JournalCorruptError, match=str(path)):
        RunStore(path, "process", SETTINGS)


def mended(path: Path) -> tuple[list[tuple[int, Item]], RunState]:
    with contextlib.closing(RunStore(path, "process", SETTINGS)) as store:
        return all_of(store.items, store.journal.last_offset), store.state


@pytest.fixture(scope="module", params=[ended, killed])
def sound(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A journal."""
    path = tmp_path_factory.mktemp("sound") / "journal.sqlite"
    request.param(path)
    return path


@given(flips=st.lists(st.tuples(st.integers(0, 1 << 32), st.integers(0, 7)), min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_whatever_bits_flip_no_other_value_is_read_and_all_values_are_accounted_for(
    sound: Path, flips: list[tuple[int, int]]
) -> None:
    items, spoiled = dict(told(read(sound))), bytearray(sound.read_bytes())
    for place, bit in flips:
        spoiled[place % len(spoiled)] ^= 1 << bit
    with scratch() as path:
        path.write_bytes(spoiled)
        try:
            found, state = mended(path)
        except JournalError as error:
            if str(path) not in str(error):
                raise
            return
        except sqlite3.OperationalError as error:  # SQLite takes the file for one of a later version
            if "readonly" not in str(error):
                raise
            return
    for offset, item in found:
        assert isinstance(item, Lost) or told([(offset, item)]) == [(offset, items.get(offset))]
    assert sum(logged(item) for _, item in found) + state.reducer.open_values() == state.journaled
