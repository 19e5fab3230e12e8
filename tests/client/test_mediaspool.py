"""Media bodies on disk: where each lies, how many files they make, and the cap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from asynclog import mediaspool
from asynclog._media.arrays import array_part
from asynclog._media.form import bytes_part
from asynclog.mediaspool import MediaSpool
from asynclog_proto import places
from asynclog_proto.media import Place


@pytest.fixture
def told() -> list[str]:
    return []


@pytest.fixture
def spool(tmp_path: Path, told: list[str], monkeypatch: pytest.MonkeyPatch) -> MediaSpool:
    monkeypatch.setattr(mediaspool, "FILE_BYTES", 1000)
    return MediaSpool(tmp_path / "spool", 4000, told.append)


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


def test_at_the_cap_nothing_is_taken_and_it_is_told_what_to_set(spool: MediaSpool, told: list[str]) -> None:
    assert all(put(spool, 1000) for _ in range(4))
    assert put(spool, 1) is None
    assert "ASYNCLOG_MEDIA_SPOOL_MB" in told[0]


def test_files_that_the_daemon_has_removed_leave_room(spool: MediaSpool) -> None:
    first, *_ = [put(spool, 1000) for _ in range(4)]
    assert first is not None
    places.media_path(spool.directory, first.file).unlink()
    assert put(spool, 900) == Place(5, 0, 900)


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
