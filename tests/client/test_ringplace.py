from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from asynclog import ringplace
from asynclog_proto import ringfile
from asynclog_proto.errors import UnsafePathError

# Whether some process holds the ring's lock, asked from another process: within one, the lock is no obstacle.
IS_FREE = """
import fcntl, os, sys
try:
    fcntl.lockf(os.open(sys.argv[1], os.O_RDWR), fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    sys.exit(1)
"""


def is_locked(path: Path) -> bool:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(IS_FREE), str(path)], check=False).returncode == 1


def hello(path: str) -> bytes:
    return f"hello {path}".encode()


def quiet(text: str) -> None:
    raise AssertionError(text)


def test_a_ring_is_private_whole_and_locked_for_life(tmp_path: Path) -> None:
    path = tmp_path / "rings" / "a.ring"
    file = ringplace.create([path], 8192, hello, quiet)
    state = ringfile.read_state(memoryview(bytes(file.mapping)))
    assert (state.capacity, state.head, state.hello) == (8192, 0, f"hello {path}".encode())
    assert [entry.name for entry in path.parent.iterdir()] == ["a.ring"]
    assert path.stat().st_mode & 0o777 == 0o600
    assert is_locked(path)
    file.unlock()
    assert not is_locked(path)
    assert path.exists()


def test_a_forked_child_does_not_hold_the_lock(tmp_path: Path) -> None:
    path = tmp_path / "a.ring"
    file = ringplace.create([path], 8192, hello, quiet)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    os.close(reader)
    assert is_locked(path)
    file.unlock()
    assert not is_locked(path)
    os.close(writer)
    os.waitpid(pid, 0)


def test_a_place_that_does_not_take_it_is_told_and_the_next_is_tried(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    said: list[str] = []
    file = ringplace.create([tmp_path / "file" / "a.ring", tmp_path / "b.ring"], 8192, hello, said.append)
    assert file.path == tmp_path / "b.ring"
    assert len(said) == 1
    assert "no ring of 8 KiB" in said[0]


def test_a_full_disk_is_noticed_at_once_and_leaves_no_file(tmp_path: Path) -> None:
    """More than any disk has: the pages are reserved when the ring is made, or writing them would be a SIGBUS."""
    said: list[str] = []
    with pytest.raises((OSError, OverflowError)):
        ringplace._create(tmp_path / "a.ring", 1 << 60, b"hello")
    assert list(tmp_path.iterdir()) == []
    assert said == []


def test_removing_takes_file_and_lock_away_and_may_be_done_twice(tmp_path: Path) -> None:
    file = ringplace.create([tmp_path / "a.ring"], 8192, hello, quiet)
    file.remove()
    file.remove()
    assert list(tmp_path.iterdir()) == []


def test_a_private_directory_is_made_private_and_kept_private(tmp_path: Path) -> None:
    ringplace.private_dir(tmp_path / "a" / "b")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    ringplace.private_dir(tmp_path / "a" / "b")
    (tmp_path / "link").symlink_to(tmp_path / "a" / "b")
    with pytest.raises(UnsafePathError):
        ringplace.private_dir(tmp_path / "link")
    (tmp_path / "open").mkdir(mode=0o755)
    with pytest.raises(UnsafePathError, match="chmod 700"):
        ringplace.private_dir(tmp_path / "open")
