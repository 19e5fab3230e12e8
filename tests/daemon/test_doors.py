"""The runtime directory is private, and one daemon has it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from asynclog_proto.errors import UnsafePathError
from asynclogd.doors import DaemonLock, DaemonRunningError, connections_within, prepare_runtime


def test_it_is_made_for_this_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        prepare_runtime(tmp_path / "run")
    finally:
        os.umask(before)
    for directory in (tmp_path / "run", tmp_path / "run" / "rings", tmp_path / "run" / "runs"):
        assert directory.stat().st_mode & 0o777 == 0o700


@pytest.mark.fault("socket-foreign")
def test_one_that_is_open_to_others_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o755)
    with pytest.raises(UnsafePathError, match="chmod 700"):
        prepare_runtime(tmp_path / "run")


@pytest.mark.fault("socket-foreign")
def test_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir(mode=0o700)
    (tmp_path / "run").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePathError, match="a link"):
        prepare_runtime(tmp_path / "run")


HOLD = """
import sys, pathlib
from asynclogd.doors import DaemonLock
lock = DaemonLock(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


@pytest.mark.fault("two-at-once")
def test_a_second_daemon_is_told_the_pid_of_the_first_and_may_follow_its_death(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    with pytest.raises(DaemonRunningError, match=f"pid {holder.pid}"):
        DaemonLock(tmp_path)
    holder.kill()
    holder.communicate()
    DaemonLock(tmp_path).release()


@pytest.mark.parametrize(
    ("limit", "wanted", "doors", "most"),
    [(20_000, 8192, 1, 8192), (4096, 8192, 2, 1024), (64, 8192, 1, 32), (1, 1, 2, 1)],
)
def test_connections_take_at_most_half_of_the_file_descriptors(limit: int, wanted: int, doors: int, most: int) -> None:
    assert connections_within(limit, wanted, doors) == most
