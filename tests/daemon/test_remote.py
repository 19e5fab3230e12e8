"""What is granted to a peer on another machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from asynclog_proto.frames import AddBackend, Heartbeat, Hello, Message, Query
from asynclogd.remote import NotFromAfarError, restrict

CONFIGURED = {"mlflow": {"tracking_uri": "http://localhost:5000"}, "csv": {}}


def hello(root: Path, **changes: Any) -> Hello:
    fields: dict[str, Any] = {
        "project": "p", "name": "r", "dir": str(root), "rank": 0, "world_size": 1, "incarnation": "a", "launch": "l",
        "first_seq": 0, "pid": 1, "host": "afar",
    }  # fmt: skip
    return Hello(**{**fields, **changes})


def taken(message: Hello, root: Path) -> Hello:
    granted = restrict(message, root, CONFIGURED)
    assert isinstance(granted, Hello)
    return granted


def test_no_path_of_a_hello_is_taken_for_one_of_this_machine(tmp_path: Path) -> None:
    granted = taken(hello(tmp_path, ring="/etc/passwd", spool="/home", outbox="/etc/shadow"), tmp_path)
    assert (granted.ring, granted.spool, granted.outbox) == ("", "", "")
    assert (granted.project, granted.name, granted.dir) == ("p", "r", str(tmp_path))


@pytest.mark.parametrize("there", ["{root}", "{root}/deep/er", "{root}/x/../y"])
def test_runs_may_lie_under_the_root(tmp_path: Path, there: str) -> None:
    assert taken(hello(tmp_path, dir=there.format(root=tmp_path)), tmp_path).name == "r"


@pytest.mark.parametrize("there", ["/", "/etc", "{root}/..", "{root}/../elsewhere", "{root}-not", "{root}/link"])
def test_runs_may_not_lie_elsewhere(tmp_path: Path, there: str) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path)
    with pytest.raises(NotFromAfarError, match=r"daemon\.remote_dir"):
        restrict(hello(tmp_path, dir=there.format(root=root)), root, CONFIGURED)


def test_a_project_that_is_a_link_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "p").symlink_to(tmp_path)
    with pytest.raises(NotFromAfarError):
        restrict(hello(tmp_path / "root"), tmp_path / "root", CONFIGURED)


def test_backends_have_the_options_that_the_daemon_is_configured_with(tmp_path: Path) -> None:
    asked: dict[str, Any] = {"mlflow": {}, "csv": None, "jsonl": {}}
    assert taken(hello(tmp_path, backends=asked), tmp_path).backends == {**CONFIGURED, "jsonl": {}}
    assert taken(hello(tmp_path, backends=None), tmp_path).backends is None
    assert taken(hello(tmp_path, backends=CONFIGURED), tmp_path).backends == CONFIGURED


@pytest.mark.parametrize(
    "backends", [{"mine": {"class": "/tmp/evil.py:Backend"}}, {"mlflow": {"tracking_uri": "http://attacker"}}]
)
def test_options_of_a_peer_are_refused_code_and_addresses_above_all(tmp_path: Path, backends: dict[str, Any]) -> None:
    with pytest.raises(NotFromAfarError, match=r"\[backends\.") as caught:
        restrict(hello(tmp_path, backends=backends), tmp_path, CONFIGURED)
    assert "attacker" not in str(caught.value)


@pytest.mark.parametrize("message", [Query("stop"), Query("anything"), AddBackend("p", "r", "/", "csv", {})])
def test_the_daemon_s_own_life_is_not_theirs(tmp_path: Path, message: Message) -> None:
    with pytest.raises(NotFromAfarError):
        restrict(message, tmp_path, CONFIGURED)


@pytest.mark.parametrize("message", [Query(), Heartbeat(1, 1, {})])
def test_everything_else_is_as_it_is(tmp_path: Path, message: Message) -> None:
    assert restrict(message, tmp_path, CONFIGURED) is message
