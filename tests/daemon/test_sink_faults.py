"""A sink whose backend, journal or process fails: the file is the oracle."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from asynclogd.backends.base import PermanentError, Points, ThrottledError
from asynclogd.cells import rows_of
from asynclogd.delivery import CursorMoved, SinkSettings
from asynclogd.entries import Cursor, DeadLetter
from asynclogd.points import Item, Params, Rewind, Summary
from asynclogd.ratelimit import RateLimiter
from tests.daemon.filebackend import AppendBackend, FileBackend, HangingBackend, lines
from tests.daemon.sinkplace import Place
from tests.daemon.tables import table

Eventually = Callable[..., None]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.mark.fault("record-refused")
def test_an_item_that_is_refused_becomes_a_dead_letter_and_the_rest_arrives_once(place: Place) -> None:
    items = [table(step) for step in range(10)]
    for item in items:
        place.add(item)
    sink = place.sink(FileBackend(refused=frozenset({3, 7})))
    assert sink.stop(drain=True, timeout=30)
    assert place.text() == "".join(lines(item) for step, item in enumerate(items) if step not in (3, 7))
    assert [(letter.backend, letter.offset) for letter in place.letters] == [("file", 4), ("file", 8)]
    assert place.letters[0].reason == "a step that is refused"
    assert (place.cursor.delivered, place.cursor.dead, place.cursor.points) == (2 * 16, 2 * 4, 16)
    assert (sink.status().dead_letters, sink.status().failures) == (2, 0)


class Picky(FileBackend):
    """Takes no step below 0, and names the rows; then none of 5, and names what it was told to, or nothing."""

    def __init__(self, named: Sequence[int] = ()) -> None:
        super().__init__()
        self.named = named

    def write(self, batch: Sequence[Item]) -> None:
        super().write(batch)
        for points in (item for item in batch if isinstance(item, Points)):
            negative = [row for row, step in enumerate(points.steps) if step < 0]
            if negative:
                raise PermanentError("a negative step", negative)
            if 5 in points.steps:
                raise PermanentError("a 5", self.named)


@pytest.mark.fault("record-refused")
def test_of_a_table_only_the_rows_become_a_dead_letter_that_the_backend_names(place: Place) -> None:
    bad = replace(table(0, 5), steps=np.array([-1, 3, -7, 4, 6]))
    bad.logged[:] = np.arange(5 * 2).reshape(5, 2)  # so that each row has a count of its own
    for item in (table(0), bad, table(9)):
        place.add(item)
    assert place.sink(Picky()).stop(drain=True, timeout=30)
    good = rows_of(bad, np.array([1, 3, 4]))
    assert place.text() == "".join(map(lines, (table(0), good, table(9))))
    assert [(letter.offset, letter.reason) for letter in place.letters] == [(2, "a negative step")]
    dead = int(bad.logged[[0, 2]].sum())
    told = (place.cursor.delivered, place.cursor.dead, place.cursor.points)
    assert told == (logged_total([table(0), bad, table(9)]) - dead, dead, 2 + 3 * 2 + 2)


@pytest.mark.parametrize(
    ("named", "left"), [((), []), ((1,), [3, 6]), ((-1, 7), []), ((0, 1, 2), []), ((1, 99), [3, 6])], ids=str
)
def test_what_is_left_of_a_table_may_be_refused_in_turn(place: Place, named: Sequence[int], left: list[int]) -> None:
    """Rows that are not there name nothing, and then the whole is meant."""
    bad = replace(table(0, 4), steps=np.array([-1, 3, 5, 6]))
    place.add(bad)
    assert place.sink(Picky(named)).stop(drain=True, timeout=30)
    assert place.text() == lines(rows_of(bad, np.flatnonzero(np.isin(bad.steps, left))))
    assert [(letter.offset, letter.reason) for letter in place.letters] == [(1, "a negative step"), (1, "a 5")]
    assert place.cursor.dead == bad.logged_total - 4 * len(left) == bad.logged_total - place.cursor.delivered


@pytest.mark.fault("record-refused")
def test_an_item_that_is_refused_only_by_the_flush_is_found(place: Place) -> None:
    class Late(FileBackend):
        """Finds out in flush, like one that sends its batch there."""

        def write(self, batch: Sequence[Item]) -> None:
            self.bad = any(isinstance(item, Points) and 5 in item.steps for item in batch)
            super().write(batch)

        def flush(self) -> dict[str, int]:
            if getattr(self, "bad", False):
                raise PermanentError("a bad step")
            return dict(super().flush())

    for step in range(8):
        place.add(table(step))
    assert place.sink(Late()).stop(drain=True, timeout=30)
    assert place.text() == "".join(lines(table(step)) for step in range(8) if step != 5)
    assert [letter.offset for letter in place.letters] == [6]


def test_a_backend_that_cannot_be_opened_is_tried_until_it_can(
    place: Place, eventually: Eventually, caplog: pytest.LogCaptureFixture
) -> None:
    works = threading.Event()
    place.add(table(0))
    sink = place.sink(FileBackend(lambda call: "" if works.is_set() or call != "open" else "error"))
    eventually(lambda: sink.status().retries > 5, what="retrying")
    status = sink.status()
    assert (status.state, status.error, status.lag, place.cursors) == ("retrying", "OSError: error", 1, [])
    works.set()
    eventually(lambda: sink.status().state == "ok", what="recovery")
    assert sink.stop(drain=True, timeout=30)
    assert place.text() == lines(table(0))
    assert sum("trying again" in record.message for record in caplog.records) == 1
    assert sum("works again" in record.message for record in caplog.records) == 1


def test_a_backend_that_says_for_good_that_it_cannot_be_opened_is_broken(place: Place, eventually: Eventually) -> None:
    sink = place.sink(FileBackend(lambda call: "permanent" if call == "open" else ""))
    eventually(lambda: sink.status().state == "broken", what="the state")
    assert sink.stop(drain=False, timeout=30)


def test_a_backend_that_ends_its_thread_is_retried(place: Place) -> None:
    class Exits(FileBackend):
        calls = 0

        def write(self, batch: Sequence[Item]) -> None:
            self.calls += 1
            if self.calls < 3:
                raise SystemExit(1)
            super().write(batch)

    place.add(table(0))
    assert place.sink(Exits()).stop(drain=True, timeout=30)
    assert place.text() == lines(table(0))


class MuteError(Exception):
    """As an SDK's whose text needs an answer that never came."""

    def __str__(self) -> str:
        raise AttributeError("'NoneType' object has no attribute 'text'")


class MuteRefusalError(MuteError, PermanentError):
    """One that says so for good."""


class Raises(FileBackend):
    """Fails with these errors, one a write, before it works."""

    def __init__(self, *errors: Exception) -> None:
        super().__init__()
        self.errors = list(errors)

    def write(self, batch: Sequence[Item]) -> None:
        if self.errors:
            raise self.errors.pop(0)
        super().write(batch)


@pytest.mark.parametrize("error", [ThrottledError("429", cast("float", "30")), MuteError()])
def test_an_error_that_is_not_what_it_should_be_does_not_end_the_sink(error: Exception, place: Place) -> None:
    place.add(table(0))
    assert place.sink(Raises(error)).stop(drain=True, timeout=30)
    assert place.text() == lines(table(0))


def test_an_item_that_is_refused_without_a_word_is_a_dead_letter_all_the_same(place: Place) -> None:
    for step in range(2):
        place.add(table(step))
    assert place.sink(Raises(MuteRefusalError(), MuteRefusalError())).stop(drain=True, timeout=30)
    assert [letter.reason for letter in place.letters] == ["MuteRefusalError"]


def test_stop_ends_a_long_backoff_at_once(place: Place, eventually: Eventually) -> None:
    patient = SinkSettings(first_retry=3600, longest_retry=3600)
    sink = place.sink(FileBackend(lambda _: "error"), times=patient)
    eventually(lambda: sink.status().state == "retrying", what="the backoff")
    assert sink.stop(drain=False, timeout=30)


def test_a_drain_that_cannot_succeed_is_given_up_at_its_deadline(place: Place, eventually: Eventually) -> None:
    place.add(table(0))
    sink = place.sink(FileBackend(lambda call: "error" if call == "write" else ""))
    assert not sink.stop(drain=True, timeout=0.05)
    eventually(lambda: sink.status().state == "closed", what="the end of the thread")
    assert place.cursor.offset == 0


def test_a_hanging_backend_is_left_behind_and_moves_no_cursor_afterwards(place: Place, eventually: Eventually) -> None:
    backend = HangingBackend()
    place.add(table(0))
    sink = place.sink(backend)
    assert backend.hangs.wait(30)
    before = list(place.cursors)
    assert not sink.stop(drain=True, timeout=0.05)
    backend.release.set()
    eventually(lambda: sink.status().state == "closed", what="the end of the thread")
    assert place.cursors == before


def test_a_journal_that_refuses_the_cursor_is_asked_again_and_nothing_is_written_twice(place: Place) -> None:
    refusals = iter([True] * 5)
    writes: list[str] = []

    def commit(name: str, cursor: Cursor, letters: list[DeadLetter], surely: bool) -> None:
        if cursor.offset and next(refusals, False):
            raise OSError("disk full")
        place.commit(name, cursor, letters, surely)

    def watch(call: str) -> str:
        writes.append(call)
        return ""

    place.add(table(0))
    sink = place.sink(FileBackend(watch), commit=commit)
    assert sink.stop(drain=True, timeout=30)
    assert place.text() == lines(table(0))
    assert writes.count("write") == writes.count("open") == 1
    assert (place.cursor.offset, sink.status().failures) == (1, 5)


@contextlib.contextmanager
def scratch(items: Sequence[Item]) -> Iterator[Place]:
    with tempfile.TemporaryDirectory() as directory:
        yield Place(Path(directory), items)


def logged_total(items: Sequence[Item]) -> int:
    return sum(item.logged_total for item in items if isinstance(item, Points))


FAULTS = st.lists(st.sampled_from(["", "", "", "error", "half", "permanent"]), max_size=25)
ITEMS = st.lists(
    st.one_of(
        st.builds(table, st.integers(0, 12), k=st.integers(1, 4), names=st.sampled_from([("a",), ("a", "b"), ("c",)])),
        st.just(Params({"lr": 0.1})),
        st.just(Rewind(3, 1)),
        st.just(Summary({"best": 1})),
    ),
    min_size=1,
    max_size=20,
)


@given(
    items=ITEMS,
    faults=FAULTS,
    refused=st.frozensets(st.integers(0, 12), max_size=3),
    rules=st.sampled_from([{}, {}, {"a": 0.5}, {"*": 1.0}]),
    sizes=st.lists(st.integers(0, 6), max_size=6),
    make=st.sampled_from([FileBackend, AppendBackend]),
)
@settings(max_examples=120)
def test_after_any_failures_and_restarts_the_file_has_each_point_once(
    items: list[Item],
    faults: list[str],
    refused: frozenset[int],
    rules: dict[str, float],
    sizes: list[int],
    make: type[FileBackend],
) -> None:
    """The sink dies at random points (its commits fail and it is stopped), the file keeps what is past the cursor."""
    times = SinkSettings(flush_interval=0.0, first_retry=0.0001, longest_retry=0.001, batch_bytes=600)
    expected = unhindered(items, refused, rules)
    ahead = iter(faults)
    with scratch([]) as place:
        later = list(items)
        for size in [*sizes, len(items)]:
            for item in later[:size]:
                place.add(item)
            del later[:size]
            place_of_death = place.log.last_offset - size % 3
            sink = place.sink(make(lambda _: next(ahead, ""), refused), rules, times, dying(place, place_of_death))
            sink.stop(drain=True, timeout=0.02)
            sink.join(30)
        sink = place.sink(make(refused=refused), rules, times)
        assert sink.stop(drain=True, timeout=60)
        cursor, text = place.cursor, place.text()
        if "permanent" not in faults:
            assert text == expected
        told = [line.split() for line in text.splitlines() if line[0] in "abc"]
        assert cursor.offset == len(items)
        assert cursor.points == len(told)
        assert cursor.delivered == sum(int(fields[-1]) for fields in told)
        held = sink.status().held
        assert cursor.delivered + cursor.limited + cursor.dead + held == logged_total(items)
        assert (cursor.dead > 0) <= bool(place.letters)


def dying(place: Place, offset: int) -> CursorMoved:
    """A journal that is gone once the cursor is past an offset."""

    def commit(name: str, cursor: Cursor, letters: list[DeadLetter], surely: bool) -> None:
        if cursor.offset > offset:
            raise OSError("gone")
        place.commit(name, cursor, letters, surely)

    return commit


def unhindered(items: list[Item], refused: frozenset[int], rules: dict[str, float]) -> str:
    """What the file should have: each item as the limiter shapes it, without what is refused."""
    limiter = RateLimiter(rules)
    text = ""
    for item in items:
        parts: list[Item] = [item]
        if isinstance(item, Points):
            parts = list(limiter.shape(item))
        elif isinstance(item, Rewind):
            parts = [*limiter.flush(), item]
        for part in parts:
            if isinstance(part, Summary) or (isinstance(part, Points) and refused & set(part.steps.tolist())):
                continue
            text += lines(part)
    return text
