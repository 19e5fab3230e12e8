"""The outbox: what is not freed is never written over, and what is freed is used again."""

from __future__ import annotations

import errno
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog import ringplace
from asynclog._media.form import Part, bytes_part
from asynclog.outbox import STEP, Outbox
from asynclog_proto import outboxfile
from asynclog_proto.media import Place

CAPACITY = 1000


@pytest.fixture
def outbox(runtime_dir: Path) -> Iterator[Outbox]:
    made = Outbox(runtime_dir / "a.outbox", CAPACITY)
    yield made
    made.close()


def put(outbox: Outbox, size: int, fill: int) -> Place | None:
    return outbox.put([bytes_part("file", bytes([fill]) * size)], size)


def read(path: Path, place: Place) -> bytes:
    """As the daemon does: by the path and the place alone."""
    data = path.read_bytes()
    start = outboxfile.at(place, outboxfile.capacity_of(data))
    return data[start : start + place.size]


@given(st.lists(st.tuples(st.integers(1, 700), st.integers(0, 3)), max_size=60))
def test_bodies_keep_their_bytes_until_they_are_freed(
    tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[int, int]]
) -> None:
    outbox = Outbox(tmp_path_factory.mktemp("outbox") / "a.outbox", CAPACITY)
    kept: list[tuple[Place, int]] = []
    refused = []
    for fill, (size, frees) in enumerate(calls):
        place = put(outbox, size, fill)
        if place is None:
            refused.append((size, outbox.used))
        else:
            kept.append((place, fill))
        for held, byte in kept:
            assert read(outbox.path, held) == bytes([byte]) * held.size
        for freed, _ in kept[:frees]:
            outbox.free(freed.offset + freed.size)
        del kept[:frees]
    # What a lap's end makes it skip is less than the body itself.
    assert all(used + 2 * size > CAPACITY for size, used in refused)
    outbox.close()
    outbox.remove()


@given(st.lists(st.tuples(st.integers(1, 500), st.booleans()), max_size=60))
def test_places_in_use_never_overlap(tmp_path_factory: pytest.TempPathFactory, calls: list[tuple[int, bool]]) -> None:
    outbox = Outbox(tmp_path_factory.mktemp("outbox") / "a.outbox", CAPACITY)
    used: list[Place] = []
    for size, frees in calls:
        if (place := put(outbox, size, 1)) is not None:
            start = outboxfile.at(place, CAPACITY)
            for other in used:
                begin = outboxfile.at(other, CAPACITY)
                assert start + size <= begin or begin + other.size <= start
            used.append(place)
        if frees and used:
            freed = used.pop(0)
            outbox.free(freed.offset + freed.size)
    outbox.close()
    outbox.remove()


def test_there_is_room_for_exactly_its_capacity(outbox: Outbox) -> None:
    assert put(outbox, CAPACITY, 1) == Place(0, 0, CAPACITY)
    assert put(outbox, 1, 2) is None
    outbox.free(CAPACITY)
    assert put(outbox, CAPACITY, 3) == Place(0, CAPACITY, CAPACITY)


def test_a_body_never_crosses_the_end_of_a_lap(outbox: Outbox) -> None:
    put(outbox, 600, 1)
    put(outbox, 100, 2)
    outbox.free(600)
    assert put(outbox, 400, 3) == Place(0, CAPACITY, 400)


def test_an_empty_outbox_begins_again_where_its_pages_are_warm(outbox: Outbox) -> None:
    put(outbox, 300, 1)
    outbox.free(300)
    assert put(outbox, 300, 2) == Place(0, CAPACITY, 300)
    assert outbox.used == 300


def test_what_is_taken_back_leaves_its_room(outbox: Outbox) -> None:
    put(outbox, 500, 1)
    place = put(outbox, 500, 2)
    assert place is not None
    outbox.take_back(place)
    assert outbox.used == 500
    assert put(outbox, 500, 3) == place


def test_a_position_beyond_what_was_written_frees_no_more_than_that(outbox: Outbox) -> None:
    put(outbox, 500, 1)
    outbox.free(1 << 40)
    assert outbox.used == 0
    put(outbox, 500, 2)
    assert outbox.used == 500
    outbox.free(0)
    assert outbox.used == 500


def test_the_file_is_private_and_sparse_until_used(runtime_dir: Path) -> None:
    outbox = Outbox(runtime_dir / "a.outbox", 64 << 20)
    status = outbox.path.stat()
    assert stat.S_IMODE(status.st_mode) == 0o600
    assert status.st_size == outboxfile.HEADER + (64 << 20)
    assert status.st_blocks * 512 <= STEP + (64 << 10)
    outbox.grow()
    assert STEP < outbox.path.stat().st_blocks * 512 < 32 << 20
    outbox.close()


def test_a_full_file_system_refuses_a_body_and_takes_the_next_that_fits(
    runtime_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outbox = Outbox(runtime_dir / "a.outbox", 64 << 20)

    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(ringplace, "allocate", full)
    outbox.grow()
    assert put(outbox, 2 * STEP, 1) is None
    assert put(outbox, 1000, 2) == Place(0, 0, 1000)
    outbox.close()


def test_no_file_is_left_where_there_is_no_room_at_all(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int, offset: int, size: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(ringplace, "allocate", full)
    with pytest.raises(OSError, match="no room"):
        Outbox(runtime_dir / "a.outbox", CAPACITY)
    assert not list(runtime_dir.iterdir())


@pytest.mark.parametrize("freed", [0, 600, 700])
def test_moved_it_has_every_body_at_its_place(outbox: Outbox, tmp_path: Path, freed: int) -> None:
    bodies = {fill: place for fill, size in enumerate((600, 100, 300)) if (place := put(outbox, size, fill))}
    outbox.free(freed)
    if freed and (place := put(outbox, 500, 9)):
        bodies[9] = place
    target = tmp_path / "spool" / "media.outbox"
    outbox.move_to(target)
    assert not outbox.path.exists()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    left = {fill: place for fill, place in bodies.items() if place.offset >= freed}
    assert len(left) >= 2
    for fill, place in left.items():
        assert read(target, place) == bytes([fill]) * place.size


def test_where_it_can_not_move_it_stays(outbox: Outbox, tmp_path: Path) -> None:
    place = put(outbox, 10, 1)
    assert place is not None
    (tmp_path / "file").write_text("no directory")
    with pytest.raises(OSError, match="file"):
        outbox.move_to(tmp_path / "file" / "media.outbox")
    assert read(outbox.path, place) == b"\1" * 10


def test_closed_twice_its_file_stays(outbox: Outbox) -> None:
    outbox.close()
    outbox.close()
    assert outboxfile.capacity_of(outbox.path.read_bytes()) == CAPACITY


def test_an_existing_file_is_nobodys_to_overwrite(outbox: Outbox) -> None:
    with pytest.raises(FileExistsError):
        Outbox(outbox.path, CAPACITY)


def test_parts_lie_end_to_end(outbox: Outbox) -> None:
    parts: list[Part] = [bytes_part("graph", b"abc"), bytes_part("run_metadata", memoryview(b"de"))]
    place = outbox.put(parts, 5)
    assert place is not None
    assert read(outbox.path, place) == b"abcde"
