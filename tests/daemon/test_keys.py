"""The directory of keys: private, whole, and what it lets in."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import zmq
from zmq.utils import z85

from asynclog import keys as client
from asynclog_proto.errors import ConfigError, UnsafePathError
from asynclogd import keys

KEY, OTHER = bytes(range(32)), bytes(32)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    directory = tmp_path / "config" / "keys"
    keys.make(directory)
    return directory


def modes(directory: Path) -> set[int]:
    return {stat.S_IMODE(path.lstat().st_mode) for path in directory.rglob("*") if path.is_file()}


def test_new_keys_are_this_user_s_alone_and_know_each_other(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        keys.make(tmp_path / "keys")
    finally:
        os.umask(before)
    home = tmp_path / "keys"
    assert modes(home) == {0o600}
    assert {stat.S_IMODE(place.stat().st_mode) for place in (home, home / "allowed")} == {0o700}
    assert keys.allowed(home) == {keys.client_pair(home).public: "self"}
    assert keys.server_key(home) == keys.daemon_pair(home).public
    assert keys.client_pair(home).secret != keys.daemon_pair(home).secret


def test_the_client_reads_the_same(home: Path) -> None:
    read = client.read({"ASYNCLOG_KEYS": str(home)})
    assert (read.server, read.secret) == (keys.server_key(home), keys.client_pair(home).secret)


def test_a_public_key_is_computed_from_its_secret() -> None:
    public, secret = (z85.decode(key) for key in zmq.curve_keypair())
    assert keys.pair_of(secret) == keys.Pair(public, secret)


def test_making_again_changes_nothing(home: Path) -> None:
    before = {path: path.read_bytes() for path in home.rglob("*") if path.is_file()}
    keys.make(home)
    assert {path: path.read_bytes() for path in home.rglob("*") if path.is_file()} == before


def test_no_secret_is_shown_by_repr(home: Path) -> None:
    pair = keys.daemon_pair(home)
    shown = repr(pair) + repr(client.read({"ASYNCLOG_KEYS": str(home)}))
    assert pair.secret.hex() not in shown
    assert repr(pair.secret) not in shown


def test_allow_and_revoke(home: Path) -> None:
    keys.allow(home, "node1", KEY)
    keys.allow(home, "node1", KEY)
    assert keys.allowed(home)[KEY] == "node1"
    keys.revoke(home, "node1")
    assert KEY not in keys.allowed(home)
    with pytest.raises(ConfigError, match="'node1'"):
        keys.revoke(home, "node1")


def test_a_name_is_not_given_to_another_key_unseen(home: Path) -> None:
    keys.allow(home, "node1", KEY)
    with pytest.raises(ConfigError, match="revoke node1"):
        keys.allow(home, "node1", OTHER)


@pytest.mark.parametrize("name", ["../self", "a/b", "", ".hidden", "x" * 300, "a\nb"])
def test_a_name_is_no_path(home: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="can't name a directory"):
        keys.allow(home, name, KEY)
    with pytest.raises(ConfigError, match="can't name a directory"):
        keys.revoke(home, name)


@pytest.mark.parametrize("text", ["", "nonsense", "00" * 31, "zz" * 32, "00" * 33, "\0" * 64])
def test_a_file_without_a_key_lets_nobody_in(home: Path, text: str) -> None:
    (home / "allowed" / "bad.public").write_text(text)
    assert list(keys.allowed(home).values()) == ["self"]


def test_a_link_in_the_list_is_not_followed(home: Path, tmp_path: Path) -> None:
    (tmp_path / "planted").write_text(KEY.hex())
    (home / "allowed" / "planted.public").symlink_to(tmp_path / "planted")
    assert KEY not in keys.allowed(home)


@pytest.mark.parametrize("place", ["", "allowed"])
def test_a_list_that_others_may_change_lets_nobody_in(home: Path, place: str) -> None:
    (home / place).chmod(0o770)
    with pytest.raises(UnsafePathError, match="chmod 700"):
        keys.allowed(home)
    assert keys.AllowList(home).names(0.0) == {}


@pytest.mark.parametrize("name", [keys.CLIENT, keys.DAEMON])
def test_a_secret_that_others_may_read_is_not_used(home: Path, name: str) -> None:
    (home / name).chmod(0o640)
    with pytest.raises(UnsafePathError, match="chmod 600"):
        (keys.client_pair if name == keys.CLIENT else keys.daemon_pair)(home)
    if name == keys.CLIENT:
        with pytest.raises(UnsafePathError, match="chmod 600"):
            client.read({"ASYNCLOG_KEYS": str(home)})


def test_a_spoiled_secret_is_told_without_its_content(home: Path) -> None:
    (home / keys.DAEMON).write_text("almost-a-secret")
    with pytest.raises(ConfigError) as caught:
        keys.daemon_pair(home)
    assert "almost" not in str(caught.value)
    assert "daemon.secret" in str(caught.value)


def test_without_keys_both_sides_say_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="asynclog keys new"):
        keys.daemon_pair(tmp_path / "none")
    with pytest.raises(ConfigError, match="asynclog keys new"):
        client.read({"ASYNCLOG_KEYS": str(tmp_path / "none")})


def test_the_list_is_read_again_when_a_second_has_passed(home: Path) -> None:
    listed = keys.AllowList(home)
    listed.names(0.0)
    keys.allow(home, "node1", KEY)
    assert KEY not in listed.names(0.9)
    assert KEY in listed.names(1.0)
    keys.revoke(home, "node1")
    assert KEY not in listed.names(2.0)


def test_the_list_is_bounded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keys, "MOST_ALLOWED", 2)
    keys.allow(home, "node1", KEY)
    with pytest.raises(ConfigError, match="2 keys"):
        keys.allow(home, "node2", OTHER)
