from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog.spool import Spool, SpoolRange
from asynclog_proto import spoolfile
from tests.filesize import files_of_at_most


def spool_in(path: Path, cap: int = 1 << 20, said: list[str] | None = None) -> Spool:
    return Spool(path / "spool" / "0-ab", b"hello", cap, (said if said is not None else []).append)


def on_disk(spool: Spool) -> list[tuple[int, int, bytes]]:
    found = []
    for segment in sorted(spool.directory.glob("*.spool")):
        data = memoryview(segment.read_bytes())
        assert spoolfile.read_hello(data) == b"hello"
        found += [(batch.first_seq, batch.count, bytes(batch.payload)) for batch in spoolfile.read_batches(data)]
    return found


def test_what_is_spooled_is_on_disk_and_can_be_read_back(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    one = spool.append(0, 2, memoryview(b"abc"))
    two = spool.append(2, 1, memoryview(b"defg"))
    assert one is not None
    assert two is not None
    assert (spool.read(one), spool.read(two)) == (b"abc", b"defg")
    assert on_disk(spool) == [(0, 2, b"abc"), (2, 1, b"defg")]


def test_files_are_private(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append(0, 1, memoryview(b"a"))
    (segment,) = spool.directory.iterdir()
    assert segment.stat().st_mode & 0o777 == 0o600
    assert spool.directory.stat().st_mode & 0o777 == 0o700


def test_segments_are_deleted_when_all_of_them_is_acked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("asynclog.spool.SEGMENT_BYTES", 100)
    spool = spool_in(tmp_path)
    for seq in range(10):
        spool.append(seq, 1, memoryview(bytes(40)))
    before = len(list(spool.directory.iterdir()))
    spool.release(4)
    assert 1 < len(list(spool.directory.iterdir())) < before
    assert [seq for seq, _, _ in on_disk(spool)][-6:] == [4, 5, 6, 7, 8, 9]
    spool.release(10)
    assert list(spool.directory.iterdir()) == []
    assert spool.size == 0
    assert spool.append(10, 1, memoryview(b"again")) is not None
    spool.release(11)
    spool.close()
    assert list(tmp_path.iterdir()) == []


def test_the_cap_is_kept_and_told(tmp_path: Path) -> None:
    said: list[str] = []
    spool = spool_in(tmp_path, cap=1000, said=said)
    taken = [spool.append(seq, 1, memoryview(bytes(100))) for seq in range(20)]
    assert 0 < sum(place is not None for place in taken) < 10
    assert spool.size <= 1000
    assert "at its cap" in said[0]


def test_half_an_entry_that_the_disk_took_is_cut_off(tmp_path: Path) -> None:
    """A real refusal of the kernel in the middle of a write: the limit on a file's size."""
    said: list[str] = []
    spool = spool_in(tmp_path, said=said)
    assert spool.append(0, 1, memoryview(b"first")) is not None
    with files_of_at_most(spool.size + 50):
        assert spool.append(1, 1, memoryview(bytes(1000))) is None
    assert "File too large" in said[0]
    assert spool.append(1, 1, memoryview(b"second")) is not None
    assert on_disk(spool) == [(0, 1, b"first"), (1, 1, b"second")]


def test_a_directory_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "spool").write_text("in the way")
    said: list[str] = []
    spool = spool_in(tmp_path, said=said)
    assert spool.append(0, 1, memoryview(b"a")) is None
    assert "can't spool to" in said[0]
    (tmp_path / "spool").unlink()
    assert spool.append(0, 1, memoryview(b"a")) is not None


def test_closing_leaves_what_is_not_acked(tmp_path: Path) -> None:
    spool = spool_in(tmp_path)
    spool.append(0, 1, memoryview(b"a"))
    spool.close()
    assert on_disk(spool) == [(0, 1, b"a")]


@given(st.lists(st.one_of(st.binary(min_size=1, max_size=300), st.integers(0, 40)), max_size=40))
def test_any_sequence_of_writes_and_acks_leaves_what_is_not_acked(
    tmp_path_factory: pytest.TempPathFactory, operations: list[bytes | int]
) -> None:
    spool = spool_in(tmp_path_factory.mktemp("spool"), cap=1 << 16)
    places: dict[int, SpoolRange] = {}
    payloads: list[bytes] = []
    acked = 0
    for operation in operations:
        if isinstance(operation, bytes):
            place = spool.append(len(payloads), 1, memoryview(operation))
            assert place is not None
            places[len(payloads)] = place
            payloads.append(operation)
        else:
            acked = max(acked, min(operation, len(payloads)))
            spool.release(acked)
    for seq in range(acked, len(payloads)):
        assert spool.read(places[seq]) == payloads[seq]
    kept = [seq for seq, _, _ in on_disk(spool)] if spool.directory.exists() else []
    assert kept[len(kept) - (len(payloads) - acked) :] == list(range(acked, len(payloads)))
    spool.close()
    assert os.listdir(spool.directory) if kept else not spool.directory.exists() or acked == 0  # noqa: PTH208
