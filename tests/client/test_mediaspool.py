"""Media bodies on disk: where each lies, how many files they make, and the cap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asynclog._media.arrays import array_part
from asynclog._media.form import bytes_part
from asynclog.mediaspool import MediaSpool
from asynclog_proto import places
from asynclog_proto.media import Place


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def spool(tmp_path: Path, told: list[str]) -> MediaSpool:
    """With room for eight files of 1000 bytes."""
    return MediaSpool(tmp_path / "spool", 8000, told.append)


def put(spool: MediaSpool, size: int, fill: int = 1) -> Place | None:
    return spool.put([bytes_part("file", bytes([fill]) * size)], size)


def read(spool: MediaSpool, place: Place) -> bytes:
    data = places.media_path(spool.directory, place.file).read_bytes()
    return data[place.offset : place.offset + place.size]


def test_bodies_fill_a_file_and_go_on_in_the_next(spool: MediaSpool) -> None:
    assert [put(spool, 400, fill) for fill in range(4)] == [
        Place(1, 0, 400), Place(1, 400, 400), Place(2, 0, 400), Place(2, 400, 400),
    ]  # fmt: skip
    assert read(spool, Place(2, 400, 400)) == b"\3" * 400
    assert spool.size == 1600


def test_a_body_larger_than_a_file_has_one_of_its_own(spool: MediaSpool) -> None:
    assert put(spool, 10) == Place(1, 0, 10)
    assert put(spool, 3000) == Place(2, 0, 3000)
    assert put(spool, 10) == Place(3, 0, 10)


def test_arrays_with_gaps_are_written_in_c_order(spool: MediaSpool) -> None:
    array = np.arange(24, dtype=">f4").reshape(4, 6).T
    place = spool.put([array_part("values", array)], 96)
    assert place is not None
    assert np.array_equal(np.frombuffer(read(spool, place), "<f4").reshape(6, 4), array)


def names(spool: MediaSpool) -> list[str]:
    return sorted(path.name for path in spool.directory.iterdir())


def dropped(spool: MediaSpool) -> int:
    return int(places.media_dropped_path(spool.directory).read_text())


def test_at_the_cap_the_oldest_file_goes_and_its_number_stays(spool: MediaSpool, told: list[str]) -> None:
    for fill in range(17):
        assert put(spool, 500, fill) == Place(fill // 2 + 1, fill % 2 * 500, 500)
        assert spool.size <= 8000
    assert names(spool) == ["media-2.seg", *(f"media-{number}.seg" for number in range(3, 10)), "media.dropped"]
    assert dropped(spool) == 1
    assert read(spool, Place(2, 0, 500)) == bytes([2]) * 500
    assert read(spool, Place(9, 0, 500)) == bytes([16]) * 500
    assert len(told) == 1
    assert "the oldest are dropped, counted as media_full" in told[0]
    assert "ASYNCLOG_MEDIA_SPOOL_MB" in told[0]


def test_as_many_go_as_a_large_one_needs_that_which_is_written_to_as_well(spool: MediaSpool) -> None:
    for _ in range(6):
        put(spool, 1000)
    assert put(spool, 5500, 9) == Place(7, 0, 5500)
    assert dropped(spool) == 4
    assert put(spool, 8000, 7) == Place(8, 0, 8000)
    assert names(spool) == ["media-8.seg", "media.dropped"]
    assert dropped(spool) == 7
    assert read(spool, Place(8, 0, 8000)) == b"\7" * 8000


def test_one_that_is_larger_than_the_cap_drops_nothing_but_itself(spool: MediaSpool, told: list[str]) -> None:
    first = put(spool, 1000)
    assert put(spool, 8001) is None
    assert "larger than ASYNCLOG_MEDIA_SPOOL_MB" in told[0]
    assert first is not None
    assert read(spool, first) == b"\1" * 1000


def test_whoever_reads_a_file_has_it_while_it_is_dropped(spool: MediaSpool) -> None:
    put(spool, 1000, 5)
    with places.media_path(spool.directory, 1).open("rb", buffering=0) as file:
        assert file.read(400) == b"\5" * 400
        for _ in range(8):
            put(spool, 1000)
        assert not places.media_path(spool.directory, 1).exists()
        assert file.read() == b"\5" * 600


def test_files_whose_drop_can_not_be_told_stay(spool: MediaSpool, told: list[str]) -> None:
    for _ in range(8):
        put(spool, 1000)
    places.media_dropped_path(spool.directory).mkdir()
    assert put(spool, 1000) is None
    assert "can't spool media" in told[-1]
    assert read(spool, Place(1, 0, 1000)) == b"\1" * 1000
    places.media_dropped_path(spool.directory).rmdir()
    assert put(spool, 1000) == Place(9, 0, 1000)
    assert dropped(spool) == 1


def test_files_that_the_daemon_has_removed_leave_room(spool: MediaSpool, told: list[str]) -> None:
    for _ in range(8):
        put(spool, 1000)
    places.media_path(spool.directory, 1).unlink()
    assert put(spool, 900) == Place(9, 0, 900)
    assert not places.media_dropped_path(spool.directory).exists()
    assert not told


def test_what_is_taken_back_leaves_room_at_the_cap(spool: MediaSpool) -> None:
    for _ in range(7):
        put(spool, 1000)
    place = put(spool, 1000)
    assert place is not None
    spool.take_back(place)
    assert put(spool, 1000) == place
    assert not places.media_dropped_path(spool.directory).exists()


def test_a_file_that_was_removed_while_it_is_written_is_not_gone_on_with(spool: MediaSpool) -> None:
    assert put(spool, 100) == Place(1, 0, 100)
    places.media_path(spool.directory, 1).unlink()
    place = put(spool, 100, 7)
    assert place == Place(2, 0, 100)
    assert read(spool, place) == b"\7" * 100


def test_what_is_taken_back_is_written_over(spool: MediaSpool) -> None:
    put(spool, 100, 1)
    place = put(spool, 300, 2)
    assert place is not None
    spool.take_back(place)
    assert put(spool, 300, 3) == place
    assert read(spool, place) == b"\3" * 300


def test_without_a_cap_there_is_no_file_and_no_word(tmp_path: Path, told: list[str]) -> None:
    spool = MediaSpool(tmp_path / "spool", 0, told.append)
    assert put(spool, 1) is None
    assert not (tmp_path / "spool").exists()
    assert not told


def test_a_directory_that_can_not_be_is_told(tmp_path: Path, told: list[str]) -> None:
    (tmp_path / "file").write_text("")
    assert put(MediaSpool(tmp_path / "file" / "spool", 1000, told.append), 1) is None
    assert "can't spool media" in told[0]


def test_closed_it_leaves_its_files(spool: MediaSpool) -> None:
    place = put(spool, 100)
    spool.close()
    spool.close()
    assert place is not None
    assert len(read(spool, place)) == 100
