"""Blobs come back as they went in, equal ones are stored once, and a crash costs only what nobody knew of."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from asynclog_proto.errors import ProtocolError
from asynclogd.media import store as module
from asynclogd.media.store import HEAD_BYTES, MediaStore
from asynclogd.points import Blob


def stored(directory: Path, *datas: bytes, fsync: bool = False) -> list[Blob]:
    store = MediaStore(directory, fsync=fsync)
    blobs = [store.append(data) for data in datas]
    store.close()
    return blobs


@pytest.mark.parametrize("fsync", [False, True])
def test_what_was_stored_is_read_by_whoever_comes_later(tmp_path: Path, fsync: bool) -> None:
    datas = [b"", b"x", bytes(100_000)]
    blobs = stored(tmp_path / "media", *datas, fsync=fsync)
    assert [MediaStore(tmp_path / "media").read(blob) for blob in blobs] == datas
    segment = (tmp_path / "media" / "1.seg").read_bytes()
    assert [segment[blob.offset : blob.offset + blob.size] for blob in blobs] == datas


def test_equal_blobs_are_stored_once_also_over_restarts(tmp_path: Path) -> None:
    one, two, again = stored(tmp_path, b"a" * 1000, b"b", b"a" * 1000)
    assert one == again
    assert stored(tmp_path, b"b", b"a" * 1000, b"c")[:2] == [two, one]
    assert (tmp_path / "1.seg").stat().st_size == 1002 + 3 * HEAD_BYTES


def test_ten_thousand_images_are_a_few_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SEGMENT_BYTES", 64 << 10)
    blobs = stored(tmp_path, *(number.to_bytes(4, "big") * 50 for number in range(10_000)))
    assert 30 < len(list(tmp_path.iterdir())) < 100
    store = MediaStore(tmp_path)
    assert all(store.read(blob) == number.to_bytes(4, "big") * 50 for number, blob in enumerate(blobs))
    assert store.append(bytes(200)) == blobs[0]


@pytest.mark.parametrize("left", [1, HEAD_BYTES - 1, HEAD_BYTES, HEAD_BYTES + 4])
def test_an_entry_that_was_cut_short_is_cut_off(tmp_path: Path, left: int) -> None:
    first, second = stored(tmp_path, b"first", b"second")
    path = tmp_path / "1.seg"
    path.write_bytes(path.read_bytes()[: second.offset - HEAD_BYTES + left])
    assert stored(tmp_path, b"third!") == [replace(second, digest=stored(tmp_path / "o", b"third!")[0].digest)]
    assert MediaStore(tmp_path).read(first) == b"first"


def test_nothing_is_cut_off_behind_what_is_spoiled(tmp_path: Path) -> None:
    _, second, third = stored(tmp_path, b"first", b"second", b"third")
    path = tmp_path / "1.seg"
    data = bytearray(path.read_bytes())
    data[second.offset - 10] ^= 1
    path.write_bytes(data)
    (fourth,) = stored(tmp_path, b"fourth")
    assert fourth.segment == 2
    store = MediaStore(tmp_path)
    assert store.read(third) == b"third"
    with pytest.raises(ProtocolError, match="spoiled"):
        store.read(second)


def test_a_file_with_its_length_but_not_its_content_is_gone_on_from_in_another(tmp_path: Path) -> None:
    (blob,) = stored(tmp_path, b"before the power went")
    path = tmp_path / "1.seg"
    path.write_bytes(path.read_bytes()[: blob.offset] + bytes(blob.size))
    assert stored(tmp_path, b"before the power went")[0].segment == 2


@pytest.mark.parametrize("spoil", [
    lambda blob: replace(blob, offset=blob.offset + 1),
    lambda blob: replace(blob, size=blob.size - 1),
    lambda blob: replace(blob, size=blob.size + 100),
    lambda blob: replace(blob, digest="00" * 16),
])  # fmt: skip
def test_a_blob_that_is_not_there_is_an_error(tmp_path: Path, spoil: Callable[[Blob], Blob]) -> None:
    (blob,) = stored(tmp_path, b"some bytes")
    with pytest.raises(ProtocolError):
        MediaStore(tmp_path).read(spoil(blob))


def test_blobs_of_a_file_that_was_removed_are_gone(tmp_path: Path) -> None:
    (blob,) = stored(tmp_path, b"some bytes")
    (tmp_path / "1.seg").unlink()
    with pytest.raises(ProtocolError, match=r"1\.seg is gone"):
        MediaStore(tmp_path).read(blob)


def test_a_closed_store_takes_nothing(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    store.close()
    with pytest.raises(OSError, match="closed"):
        store.append(b"x")


def test_threads_may_append_and_read_at_once(tmp_path: Path) -> None:
    store = MediaStore(tmp_path)
    wrong: list[int] = []

    def work(thread: int) -> None:
        for number in range(100):
            data = f"{thread % 2} {number}".encode() * 100
            if store.read(store.append(data)) != data:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert len({path.name for path in tmp_path.iterdir()}) == 1
    assert store.bytes_used == sum(100 * len(f"0 {n}") + HEAD_BYTES for n in range(100)) * 2


def test_the_store_is_not_ours_to_write_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_bytes(b"precious")
    (tmp_path / "media").mkdir()
    (tmp_path / "media" / "1.seg").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError):
        MediaStore(tmp_path / "media").append(b"x")
    assert (tmp_path / "elsewhere").read_bytes() == b"precious"
