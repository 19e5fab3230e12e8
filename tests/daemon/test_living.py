"""Whether the process of a stream lives."""

from __future__ import annotations

import fcntl
import os
import resource
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asynclog_proto import frames, places, spoolfile
from asynclogd import living
from tests.daemon.deadfiles import HELLO, ring_with, row, segment, write_spool


def is_written(spool: Path | None, host: str, pid: int) -> bool:
    """As a daemon sees it that has never looked there."""
    return living.is_written(spool, host, pid, living.sightings())


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
    assert not living.owner_is_dead(ring)
    owner.kill()
    owner.communicate()
    assert living.owner_is_dead(ring)


def test_looking_for_the_owner_takes_the_lock_from_nobody(tmp_path: Path) -> None:
    ring = tmp_path / "r.ring"
    ring.write_bytes(ring_with([]))
    assert living.owner_is_dead(ring)
    with ring.open("r+b") as file:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_spool_is_written_as_long_as_a_process_lives_that_can_have_begun_it(tmp_path: Path) -> None:
    """An id says nothing elsewhere, and another process has it that began later."""
    here, spool = os.uname().nodename, tmp_path / "0-a"
    assert not is_written(spool, here, os.getpid())
    write_spool(spool, [segment(0, [row(0)])])
    assert is_written(spool, here, os.getpid())
    assert not is_written(spool, "elsewhere", os.getpid())
    assert not is_written(None, here, os.getpid())
    assert not any(is_written(spool, here, pid) for pid in (-1, 10**6 * 5, 2**80))
    owner = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    os.utime(spool / f"00000001{spoolfile.SUFFIX}")
    assert is_written(spool, here, owner.pid)
    long_ago = time.time() - 60
    os.utime(spool / f"00000001{spoolfile.SUFFIX}", (long_ago, long_ago))
    assert not is_written(spool, here, owner.pid)
    os.utime(spool / f"00000001{spoolfile.SUFFIX}")
    owner.kill()
    os.waitid(os.P_PID, owner.pid, os.WEXITED | os.WNOWAIT)  # nobody has asked for its code yet
    assert not is_written(spool, here, owner.pid)
    owner.communicate()
    assert not is_written(spool, here, owner.pid)


@pytest.mark.parametrize("pid", [1, 2**22], ids=["that others have here", "that nobody has here"])
def test_a_process_of_another_container_lives_while_it_has_written_lately(tmp_path: Path, pid: int) -> None:
    """Containers of a pod share a hostname, and count their processes anew."""
    here, segment_path = os.uname().nodename, tmp_path / "0-a" / f"00000001{spoolfile.SUFFIX}"
    hello = replace(HELLO, host=here, pid=pid, pid_namespace="pid:[1]")
    started = spoolfile.start(bytes(frames.encode(hello)[0]))
    write_spool(tmp_path / "0-a", [started + spoolfile.entry(0, 1, row(0))])
    assert is_written(tmp_path / "0-a", here, pid)
    assert not is_written(tmp_path / "0-a", "elsewhere", pid)
    long_ago = time.time() - 2 * living.LATELY_SECONDS
    os.utime(segment_path, (long_ago, long_ago))
    assert not is_written(tmp_path / "0-a", here, pid)
    assert living.is_of_another_container(hello)
    assert not any(
        living.is_of_another_container(replace(hello, pid_namespace=own)) for own in ("", places.pid_namespace())
    )


def test_a_spool_that_can_not_be_read_now_does_not_tell_that_its_process_is_dead(tmp_path: Path) -> None:
    here, spool = os.uname().nodename, tmp_path / "0-a"
    write_spool(spool, [segment(0, [row(0)])])
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    assert not is_written(spool, here, ended.pid)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        written = is_written(spool, here, ended.pid)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert written


def hello_of(pid: int, **more: Any) -> bytes:
    """What begins a segment of this process."""
    hello = replace(HELLO, host=os.uname().nodename, pid=pid, pid_namespace=places.pid_namespace(), **more)
    return spoolfile.start(bytes(frames.encode(hello)[0])) + spoolfile.entry(0, 1, row(0))


@pytest.mark.fault("clock-moved")
@pytest.mark.parametrize("ago", [86_400, -86_400])
def test_a_process_is_known_by_when_it_began_after_its_machine_whatever_the_clock_says(
    tmp_path: Path, ago: int
) -> None:
    """The clock was set since it wrote: a file's time is not of the clock that tells when a process began."""
    ticks, here = places.process_ticks(os.getpid()), os.uname().nodename
    write_spool(tmp_path / "0-a", [hello_of(os.getpid(), pid_ticks=ticks)])
    write_spool(tmp_path / "0-b", [hello_of(os.getpid(), pid_ticks=ticks - 1)])
    for name in ("0-a", "0-b"):
        then = time.time() - ago
        os.utime(tmp_path / name / f"00000001{spoolfile.SUFFIX}", (then, then))
    assert is_written(tmp_path / "0-a", here, os.getpid())
    assert not is_written(tmp_path / "0-b", here, os.getpid()), "another process has its id now"


SPOOL, NOW, BEGAN = Path("0-a"), 1000.0, 1.8e9
LATE = living.LATELY_SECONDS


def test_a_spool_is_late_when_its_files_say_so_and_from_then_on_when_nothing_has_come_for_long() -> None:
    seen = living.Sightings(BEGAN, NOW)
    assert seen.is_late(SPOOL, BEGAN - LATE - 1, BEGAN, NOW)
    assert not seen.is_late(SPOOL, BEGAN - LATE + 10, BEGAN, NOW)
    assert not seen.is_late(SPOOL, BEGAN - LATE + 10, BEGAN + 9, NOW + 9)
    assert seen.is_late(SPOOL, BEGAN - LATE + 10, BEGAN + 11, NOW + 11)


@pytest.mark.fault("clock-moved")
@pytest.mark.parametrize("move", [86_400.0, -86_400.0])
def test_the_clock_may_be_set_while_a_spool_is_looked_at(move: float) -> None:
    seen = living.Sightings(BEGAN, NOW)
    assert not seen.is_late(SPOOL, BEGAN, BEGAN, NOW)
    assert not seen.is_late(SPOOL, BEGAN, BEGAN + move + 50, NOW + 50)
    assert not seen.is_late(SPOOL, BEGAN + move + 55, BEGAN + move + 70, NOW + 70), "it wrote"
    assert not seen.is_late(SPOOL, BEGAN + move + 55, BEGAN + move + 120, NOW + 120)
    assert seen.is_late(SPOOL, BEGAN + move + 55, BEGAN + move + 131, NOW + 131)


@pytest.mark.fault("clock-moved")
@pytest.mark.parametrize("move", [86_400.0, -86_400.0])
def test_a_spool_that_is_first_seen_when_the_clock_was_set_has_time_to_be_written(move: float) -> None:
    seen = living.Sightings(BEGAN, NOW)
    assert not seen.is_late(SPOOL, BEGAN, BEGAN + move + 50, NOW + 50)
    assert seen.is_late(SPOOL, BEGAN, BEGAN + move + 50 + LATE, NOW + 50 + LATE)


def test_a_spool_of_the_future_is_late_when_nothing_has_come_for_long() -> None:
    seen = living.Sightings(BEGAN, NOW)
    assert not seen.is_late(SPOOL, BEGAN + 86_400, BEGAN, NOW)
    assert seen.is_late(SPOOL, BEGAN + 86_400, BEGAN + LATE, NOW + LATE)
