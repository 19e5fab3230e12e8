from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclog_proto import places
from asynclog_proto.errors import ConfigError, UnsafePathError


def test_an_explicit_runtime_directory_comes_first():
    environ = {"ASYNCLOG_RUNTIME_DIR": "/run/mine", "XDG_RUNTIME_DIR": "/run/user/7"}
    assert places.runtime_dir(environ, 7) == Path("/run/mine")
    assert places.runtime_dir({"XDG_RUNTIME_DIR": "/run/user/7"}, 7) == Path("/run/user/7/asynclog")


def test_users_of_a_node_have_directories_of_their_own():
    assert places.runtime_dir({}, 7) != places.runtime_dir({}, 8)


def test_an_endpoint_tells_its_runtime_directory():
    assert places.runtime_of(places.endpoint(Path("/run/mine"))) == Path("/run/mine")


@pytest.mark.parametrize("runtime", ["/" + "x" * 100, "/bad\udcff", "/new\nline"])
def test_a_socket_path_that_cannot_be_bound_is_an_error_that_says_what_to_do(runtime):
    with pytest.raises(ConfigError, match="ASYNCLOG_RUNTIME_DIR"):
        places.endpoint(Path(runtime))
    with pytest.raises(ConfigError):
        places.runtime_of(f"ipc://{runtime}/daemon.sock")


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:5555", "ipc://relative", "ipc://@abstract", "", "/path"])
def test_only_ipc_with_an_absolute_path_is_an_endpoint(address):
    with pytest.raises(ConfigError, match="only ipc"):
        places.runtime_of(address)


def test_a_private_directory_passes(tmp_path):
    tmp_path.chmod(0o700)
    places.check_private(tmp_path, tmp_path.lstat(), os.getuid())


@pytest.mark.parametrize("mode", [0o755, 0o770, 0o701])
def test_a_directory_open_to_others_is_unsafe(tmp_path, mode):
    tmp_path.chmod(mode)
    with pytest.raises(UnsafePathError, match="chmod 700"):
        places.check_private(tmp_path, tmp_path.lstat(), os.getuid())


def test_a_directory_of_another_user_is_unsafe(tmp_path):
    tmp_path.chmod(0o700)
    with pytest.raises(UnsafePathError, match="belongs to user"):
        places.check_private(tmp_path, tmp_path.lstat(), os.getuid() + 1)


def test_a_link_or_a_file_is_unsafe(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path)
    (tmp_path / "file").touch()
    for path in (tmp_path / "link", tmp_path / "file"):
        with pytest.raises(UnsafePathError, match="not a directory"):
            places.check_private(path, path.lstat(), os.getuid())


@pytest.mark.parametrize(
    "value", ["", ".", "..", ".hidden", "a/b", "/", "a\0b", "a\n", "\ud800", "n" * 201, "é" * 101, None, 7, b"bytes"]
)
def test_a_name_that_cannot_be_a_directory_is_an_error_that_names_it(value):
    with pytest.raises(ConfigError, match="the project"):
        places.check_component("the project", value)


@given(st.text(max_size=220))
def test_a_name_that_passes_stays_inside_its_directory(value):
    try:
        name = places.check_component("name", value)
    except ConfigError:
        return
    path = places.run_dir("/data", "project", name)
    assert os.path.normpath(path) == str(path)
    assert path.parent == Path("/data/project")
    assert len(os.fsencode(name)) <= 255


def test_rings_and_spools_of_streams_do_not_meet():
    rings, runs = Path("/r"), [places.run_dir("/d", "p", name) for name in ("a", "b")]
    found = {places.ring_path(rings, run, rank, inc) for run in runs for rank in (0, 1) for inc in ("x", "y")}
    assert len(found) == 8
    assert {path.parent for path in found} == {rings}
    assert places.spool_dir(runs[0], 3, "x") == Path("/d/p/a/spool/3-x")


def test_an_endpoint_is_ipc_or_tcp():
    assert places.check_endpoint("ipc:///run/mine/daemon.sock") == "ipc:///run/mine/daemon.sock"
    assert places.check_endpoint("tcp://node0:5757") == "tcp://node0:5757"
    assert places.is_remote("tcp://node0:5757")
    assert not places.is_remote("ipc:///run/mine/daemon.sock")


@pytest.mark.parametrize(
    ("address", "host", "port"),
    [("tcp://node0:5757", "node0", 5757), ("tcp://*:0", "*", 0), ("tcp://[::1]:65535", "::1", 65535)],
)
def test_a_tcp_endpoint_has_a_host_and_a_port(address, host, port):
    assert places.host_and_port(address) == (host, port)


@pytest.mark.parametrize(
    "address",
    [
        *("tcp://", "tcp://h", "tcp://:1", "tcp://h:", "tcp://h:65536", "tcp://h:+1", "tcp://h:٣", "tcp://::1:7"),
        *("tcp://u:p@h:1", "tcp://a/b:1", "tcp://a b:1", "tcp://h\n:1", "ipc:///run/d.sock", "h:1"),
    ],
)
def test_anything_else_is_no_tcp_endpoint(address):
    with pytest.raises(ConfigError, match="tcp://HOST:PORT"):
        places.host_and_port(address)


def test_keys_are_where_the_environment_says():
    environ = {"ASYNCLOG_KEYS": "/k", "XDG_CONFIG_HOME": "/c", "HOME": "/h"}
    assert places.keys_dir(environ) == Path("/k")
    assert places.keys_dir({"XDG_CONFIG_HOME": "/c", "HOME": "/h"}) == Path("/c/asynclog/keys")
    assert places.keys_dir({"HOME": "/h"}) == Path("/h/.config/asynclog/keys")
    with pytest.raises(ConfigError, match="ASYNCLOG_KEYS"):
        places.keys_dir({})


def test_a_secret_of_another_user_or_open_to_others_is_unsafe(tmp_path):
    file = tmp_path / "secret"
    file.touch(mode=0o600)
    places.check_secret(file, file.stat(), os.getuid())
    with pytest.raises(UnsafePathError, match="belongs to user"):
        places.check_secret(file, file.stat(), os.getuid() + 1)
    with pytest.raises(UnsafePathError, match="not a file"):
        places.check_secret(tmp_path, tmp_path.stat(), os.getuid())
    file.chmod(0o604)
    with pytest.raises(UnsafePathError, match="chmod 600"):
        places.check_secret(file, file.stat(), os.getuid())


def test_a_socket_of_another_user_is_unsafe(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        status = (tmp_path / "s").lstat()
    places.check_socket(tmp_path / "s", status, os.getuid())
    with pytest.raises(UnsafePathError, match="belongs to user"):
        places.check_socket(tmp_path / "s", status, os.getuid() + 1)


def test_a_key_is_64_hexadecimal_digits_and_an_error_does_not_show_it():
    assert places.parse_key(" " + "0f" * 32 + "\n", "KEY") == b"\x0f" * 32
    for text in ("", "0f" * 31, "0F" * 32, "xyz", "0f" * 33):
        with pytest.raises(ConfigError, match="64 hexadecimal") as caught:
            places.parse_key(text, "KEY")
        assert not text or text not in str(caught.value)
