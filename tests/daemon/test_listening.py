"""The path and the port that the daemon listens at."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from asynclog_proto.errors import ConfigError, UnsafePathError
from asynclogd import listening


@pytest.fixture
def path(runtime_dir: Path) -> Path:
    return runtime_dir / "daemon.sock"


def test_the_socket_is_this_user_s_alone(path: Path) -> None:
    before = os.umask(0)
    try:
        with listening.on_path(path).socket:
            assert path.stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)


def test_what_a_dead_daemon_left_is_replaced(path: Path) -> None:
    with listening.on_path(path).socket:
        pass
    with listening.on_path(path).socket, socket.socket(socket.AF_UNIX) as peer:
        peer.connect(str(path))


@pytest.mark.fault("socket-foreign")
def test_a_link_is_refused_and_what_it_leads_to_is_left(path: Path, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("data")
    path.symlink_to(tmp_path / "precious")
    with pytest.raises(UnsafePathError, match="no socket"):
        listening.on_path(path)
    assert (tmp_path / "precious").read_text() == "data"


@pytest.mark.fault("socket-foreign")
def test_a_link_to_a_socket_is_refused_too(path: Path, runtime_dir: Path) -> None:
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(runtime_dir / "other.sock"))
        path.symlink_to(runtime_dir / "other.sock")
        with pytest.raises(UnsafePathError, match="a link"):
            listening.on_path(path)


@pytest.mark.fault("socket-foreign")
@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, os.mkfifo])
def test_whatever_is_no_socket_is_refused(path: Path, make: object) -> None:
    assert callable(make)
    make(path)
    with pytest.raises(UnsafePathError, match="no socket"):
        listening.on_path(path)


def test_a_port_is_listened_at_and_told() -> None:
    opened = listening.on_port("tcp://127.0.0.1:0")
    with opened.socket:
        assert opened.remote
        assert opened.address == f"tcp://127.0.0.1:{opened.socket.getsockname()[1]}"


def test_a_port_that_is_taken_is_told_with_its_address() -> None:
    opened = listening.on_port("tcp://127.0.0.1:0")
    with opened.socket, pytest.raises(ConfigError, match=f"can't listen at {opened.address}"):
        listening.on_port(opened.address)


@pytest.mark.parametrize(
    "address", ["tcp://", "tcp://x", "tcp://:1", "tcp://h:70000", "tcp://h:-1", "udp://h:1", "h:1"]
)
def test_an_address_is_tcp_host_and_port(address: str) -> None:
    with pytest.raises(ConfigError, match="tcp://HOST:PORT"):
        listening.on_port(address)
