"""What dead clients left is read whole, in order, beside each other."""

from __future__ import annotations

from pathlib import Path

import pytest

from asynclog_proto import ringfile, spoolfile
from asynclog_proto.errors import ProtocolError
from asynclogd import living, recovery
from tests.daemon.deadfiles import HELLO, ring_with, row, segment, write_spool


def test_a_ring_gives_its_records_in_batches(tmp_path: Path) -> None:
    rows = [row(step) for step in range(100)]
    (tmp_path / "r.ring").write_bytes(ring_with(rows))
    left = recovery.read_ring(tmp_path / "r.ring")
    assert left is not None
    assert left.hello == HELLO
    assert b"".join(batch.payload for batch in left.batches) == b"".join(rows)
    assert sum(batch.count for batch in left.batches) == 100


def test_what_is_before_a_spoiled_record_counts(tmp_path: Path) -> None:
    data = bytearray(ring_with([row(step) for step in range(10)]))
    data[ringfile.HEADER + 6 * len(row(0))] = 0xC1  # never used by MessagePack
    (tmp_path / "r.ring").write_bytes(data)
    left = recovery.read_ring(tmp_path / "r.ring")
    assert left is not None
    assert [batch.count for batch in left.batches] == [6]


@pytest.mark.parametrize("content", [b"", b"x" * 100_000])
def test_a_file_that_is_no_ring_is_an_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.ring").write_bytes(content)
    with pytest.raises(ProtocolError):
        recovery.read_ring(tmp_path / "r.ring")


def test_a_ring_that_is_gone_is_nothing(tmp_path: Path) -> None:
    assert recovery.read_ring(tmp_path / "none.ring") is None
    assert living.owner_is_dead(tmp_path / "none.ring")


def test_a_link_in_place_of_a_ring_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(ring_with([row(0)]))
    (tmp_path / "r.ring").symlink_to(tmp_path / "real")
    with pytest.raises(OSError):  # ELOOP
        recovery.read_ring(tmp_path / "r.ring")
    assert not living.owner_is_dead(tmp_path / "r.ring")


def test_a_segment_with_a_spoiled_hello_is_still_read(tmp_path: Path) -> None:
    spoiled = bytearray(segment(0, [row(0), row(1)]))
    spoiled[len(spoolfile.MAGIC) + 30] ^= 0xFF
    write_spool(tmp_path / "s", [bytes(spoiled), segment(2, [row(2)])])
    assert recovery.spool_hello(tmp_path / "s") == HELLO
    assert [(b.first_seq, b.count) for b in recovery.spool_batches(tmp_path / "s")] == [(0, 2), (2, 1)]


def test_ranks_are_read_beside_each_other_each_in_its_order() -> None:
    def stream(steps: list[int]) -> list[recovery.LeftBatch]:
        return [recovery.LeftBatch(seq, 1, row(step)) for seq, step in enumerate(steps)]

    streams = {"a": iter(stream([10, 20, 15, 90])), "b": iter(stream([12, 21, 30]))}
    taken = [(key, batch.first_seq) for key, batch in recovery.by_step(streams)]
    assert taken == [("a", 0), ("b", 0), ("a", 1), ("a", 2), ("b", 1), ("b", 2), ("a", 3)]


def test_it_is_known_when_a_dead_stream_began(tmp_path: Path) -> None:
    (tmp_path / "r.ring").write_bytes(ring_with([row(5, time=7.0)]))
    write_spool(tmp_path / "s", [segment(0, [row(1, time=3.0), row(2, time=4.0)])])
    assert recovery.began(tmp_path / "r.ring", None) == 7.0
    assert recovery.began(tmp_path / "r.ring", tmp_path / "s") == 3.0
    assert recovery.began(None, tmp_path / "none") == float("inf")


def test_removing_takes_the_spools_empty_folders_along(tmp_path: Path) -> None:
    (tmp_path / "r.ring").write_bytes(b"")
    write_spool(tmp_path / "spool" / "0-a", [segment(0, [row(0)])])
    write_spool(tmp_path / "spool" / "1-b", [segment(0, [row(0)])])
    recovery.remove(tmp_path / "r.ring", tmp_path / "spool" / "0-a")
    assert [path.name for path in tmp_path.iterdir()] == ["spool"]
    recovery.remove(None, tmp_path / "spool" / "1-b")
    assert list(tmp_path.iterdir()) == []
