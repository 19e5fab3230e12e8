"""Backends that can't go on from their position: everything is offered once more, into a place that is empty."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from asynclogd.backends.base import Position, RunInfo, StartOverError
from asynclogd.entries import Cursor, DeadLetter
from asynclogd.points import Item, RunEnd
from tests.daemon.filebackend import AppendBackend, FileBackend, lines
from tests.daemon.sinkplace import Place
from tests.daemon.tables import table

Eventually = Callable[..., None]

ITEMS: list[Item] = [*(table(step) for step in range(12)), RunEnd("success")]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def delivered(place: Place, backend: FileBackend, items: list[Item]) -> None:
    for item in items:
        place.add(item)
    assert place.sink(backend).stop(drain=True, timeout=30)


def test_what_a_crash_left_beyond_the_cursor_is_not_there_twice_and_the_counts_begin_anew(place: Place) -> None:
    delivered(place, AppendBackend(), ITEMS[:6])
    with (place.run.own_dir / "lines").open("a") as file:
        file.write("a line that no cursor knows\n")
    delivered(place, AppendBackend(), ITEMS[6:])
    assert place.text() == "".join(map(lines, ITEMS))
    assert (place.cursor.offset, place.cursor.delivered, place.cursor.points) == (13, 12 * 4, 12 * 2)


def test_that_nothing_counts_is_journaled_before_the_backend_begins_again(place: Place) -> None:
    told: list[str] = []

    class Telling(AppendBackend):
        def open(self, run: RunInfo, position: Position | None) -> None:
            told.append("opens" if position is None else "goes on")
            super().open(run, position)

    def commit(name: str, cursor: Cursor, letters: list[DeadLetter], surely: bool) -> None:
        told.append("nothing counts" if cursor == Cursor() else "moves")
        place.commit(name, cursor, letters, surely)

    delivered(place, AppendBackend(), ITEMS[:6])
    (place.run.own_dir / "lines").write_text("")
    sink = place.sink(Telling(), commit=commit)
    assert sink.stop(drain=True, timeout=30)
    assert told[:3] == ["goes on", "nothing counts", "opens"]
    assert (sink.status().started_over, place.cursor.offset) == (1, 6)


def test_a_journal_that_refuses_keeps_the_backend_from_beginning_again(place: Place, eventually: Eventually) -> None:
    works = threading.Event()

    def commit(name: str, cursor: Cursor, letters: list[DeadLetter], surely: bool) -> None:
        if not works.is_set():
            raise OSError("disk full")
        place.commit(name, cursor, letters, surely)

    delivered(place, AppendBackend(), ITEMS[:6])
    (place.run.own_dir / "lines").write_text("short\n")
    sink = place.sink(AppendBackend(), commit=commit)
    eventually(lambda: sink.status().failures > 5, what="a refused cursor")
    assert place.text() == "short\n"
    works.set()
    assert sink.stop(drain=True, timeout=30)
    assert place.text() == "".join(map(lines, ITEMS[:6]))


def test_dead_letters_of_the_life_before_are_not_counted_again(place: Place) -> None:
    refused = frozenset({1, 4, 5, 9})
    delivered(place, AppendBackend(refused=refused), ITEMS)
    assert place.text() == "".join(lines(item) for step, item in enumerate(ITEMS) if step not in refused)
    assert (place.cursor.delivered, place.cursor.dead, place.cursor.points) == (8 * 4, 4 * 4, 8 * 2)
    assert {letter.offset for letter in place.letters} == {2, 5, 6, 10}


def test_each_refused_item_costs_one_more_beginning_and_not_twice_as_many(place: Place) -> None:
    begun: list[Position | None] = []

    class Counting(AppendBackend):
        def open(self, run: RunInfo, position: Position | None) -> None:
            begun.extend([None] if position is None else [])
            super().open(run, position)

    delivered(place, Counting(refused=frozenset(range(10))), ITEMS)
    assert len(begun) <= 10 + 3


def test_one_that_can_not_begin_either_is_broken(place: Place, eventually: Eventually) -> None:
    class Lost(FileBackend):
        def open(self, run: RunInfo, position: Position | None) -> None:
            del run, position
            raise StartOverError("its server has forgotten it")

    place.add(table(0))
    sink = place.sink(Lost())
    eventually(lambda: sink.status().state == "broken", what="the state")
    assert "it can't go on from the beginning either: its server has forgotten it" in sink.status().error
    assert sink.stop(drain=False, timeout=30)


def test_what_was_taken_before_the_refused_one_is_offered_in_batches_again(place: Place) -> None:
    sizes: list[int] = []

    class Measured(AppendBackend):
        def write(self, batch: Sequence[Item]) -> None:
            sizes.append(len(batch))
            super().write(batch)

    backend = Measured(refused=frozenset({200}))
    delivered(place, backend, [table(step) for step in range(190)])
    sizes.clear()
    delivered(place, backend, [table(step) for step in range(190, 210)])
    assert place.text() == "".join(lines(table(step)) for step in range(210) if step != 200)
    assert sizes.count(1) <= 2 * 20, "only what came with the refused one is offered one by one"
    assert max(sizes) >= 190
