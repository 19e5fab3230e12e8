"""What dead clients left is read whole, in order, beside each other."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from asynclog_proto import frames, places, records, ringfile, spoolfile
from asynclog_proto.errors import ProtocolError
from asynclogd import recovery

HELLO = frames.Hello(
    project="p", name="n", dir="/d", rank=0, world_size=1, incarnation="a", launch="l", first_seq=0, pid=1, host="h"
)
HELLO_BYTES = bytes(frames.encode(HELLO)[0])


def row(step: int, time: float = 0.0) -> bytes:
    return records.encode(records.Row(0, step, time, 1.0, (float(step),)))


def ring_with(rows: list[bytes], capacity: int = 1 << 16) -> bytes:
    data = bytearray(ringfile.header(capacity, HELLO_BYTES) + bytes(capacity))
    body = b"".join(rows)
    data[ringfile.HEADER : ringfile.HEADER + len(body)] = body
    data[ringfile.HEAD : ringfile.HEAD + 8] = len(body).to_bytes(8, sys.byteorder)
    return bytes(data)


def write_spool(directory: Path, segments: list[bytes]) -> None:
    directory.mkdir(parents=True)
    for number, segment in enumerate(segments, 1):
        (directory / f"{number:08d}{spoolfile.SUFFIX}").write_bytes(segment)


def segment(first: int, rows: list[bytes]) -> bytes:
    return spoolfile.start(HELLO_BYTES) + spoolfile.entry(first, len(rows), b"".join(rows))


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
    assert recovery.owner_is_dead(tmp_path / "none.ring")


def test_a_link_in_place_of_a_ring_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(ring_with([row(0)]))
    (tmp_path / "r.ring").symlink_to(tmp_path / "real")
    with pytest.raises(OSError):  # ELOOP
        recovery.read_ring(tmp_path / "r.ring")
    assert not recovery.owner_is_dead(tmp_path / "r.ring")


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


HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""


def test_a_ring_has_an_owner_as_long_as_its_process_lives(tmp_path: Path) -> None:
    ring = tmp_path / "r.ring"
    ring.write_bytes(ring_with([]))
    owner = subprocess.Popen([sys.executable, "-c", HOLD, ring], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert owner.stdout is not None
    assert owner.stdout.readline() == b"held\n"
    assert not recovery.owner_is_dead(ring)
    owner.kill()
    owner.communicate()
    assert recovery.owner_is_dead(ring)


def test_looking_for_the_owner_takes_the_lock_from_nobody(tmp_path: Path) -> None:
    ring = tmp_path / "r.ring"
    ring.write_bytes(ring_with([]))
    assert recovery.owner_is_dead(ring)
    with ring.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_spool_is_written_as_long_as_a_process_lives_that_can_have_begun_it(tmp_path: Path) -> None:
    """An id says nothing elsewhere, and another process has it that began later."""
    here, spool = os.uname().nodename, tmp_path / "0-a"
    assert not recovery.is_written(spool, here, os.getpid())
    write_spool(spool, [segment(0, [row(0)])])
    assert recovery.is_written(spool, here, os.getpid())
    assert not recovery.is_written(spool, "elsewhere", os.getpid())
    assert not recovery.is_written(None, here, os.getpid())
    assert not any(recovery.is_written(spool, here, pid) for pid in (-1, 10**6 * 5, 2**80))
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    os.utime(spool / f"00000001{spoolfile.SUFFIX}")
    assert recovery.is_written(spool, here, owner.pid)
    long_ago = time.time() - 60
    os.utime(spool / f"00000001{spoolfile.SUFFIX}", (long_ago, long_ago))
    assert not recovery.is_written(spool, here, owner.pid)
    os.utime(spool / f"00000001{spoolfile.SUFFIX}")
    owner.kill()
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)  # nobody has asked for its code yet
    assert not recovery.is_written(spool, here, owner.pid)
    owner.communicate()
    assert not recovery.is_written(spool, here, owner.pid)


@pytest.mark.parametrize("pid", [1, 2**22], ids=["that others have here", "that nobody has here"])
def test_a_process_of_another_container_lives_while_it_has_written_lately(tmp_path: Path, pid: int) -> None:
    """Containers of a pod share a hostname, and count their processes anew."""
    here, segment_path = os.uname().nodename, tmp_path / "0-a" / f"00000001{spoolfile.SUFFIX}"
    hello = replace(HELLO, host=here, pid=pid, pid_namespace="pid:[1]")
    started = spoolfile.start(bytes(frames.encode(hello)[0]))
    write_spool(tmp_path / "0-a", [started + spoolfile.entry(0, 1, row(0))])
    assert recovery.is_written(tmp_path / "0-a", here, pid)
    assert not recovery.is_written(tmp_path / "0-a", "elsewhere", pid)
    long_ago = time.time() - 2 * recovery.LATELY_SECONDS
    os.utime(segment_path, (long_ago, long_ago))
    assert not recovery.is_written(tmp_path / "0-a", here, pid)
    assert recovery.is_of_another_container(hello)
    assert not any(
        recovery.is_of_another_container(replace(hello, pid_namespace=own)) for own in ("", places.pid_namespace())
    )


def test_a_spool_that_can_not_be_read_now_does_not_tell_that_its_process_is_dead(tmp_path: Path) -> None:
    here, spool = os.uname().nodename, tmp_path / "0-a"
    write_spool(spool, [segment(0, [row(0)])])
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not recovery.is_written(spool, here, ended.pid)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        written = recovery.is_written(spool, here, ended.pid)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert written


def test_removing_takes_the_spools_empty_folders_along(tmp_path: Path) -> None:
    (tmp_path / "r.ring").write_bytes(b"")
    write_spool(tmp_path / "spool" / "0-a", [segment(0, [row(0)])])
    write_spool(tmp_path / "spool" / "1-b", [segment(0, [row(0)])])
    recovery.remove(tmp_path / "r.ring", tmp_path / "spool" / "0-a")
    assert [path.name for path in tmp_path.iterdir()] == ["spool"]
    recovery.remove(None, tmp_path / "spool" / "1-b")
    assert list(tmp_path.iterdir()) == []
