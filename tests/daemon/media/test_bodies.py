"""Bodies are read from where ranks laid them, and from nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from asynclog_proto import outboxfile
from asynclog_proto.media import Place
from asynclogd.media import bodies
from asynclogd.media.forms import DroppedError, UnfitError


def outbox(path: Path, content: bytes, capacity: int = 1000) -> str:
    path.write_bytes(outboxfile.header(capacity) + content.ljust(capacity, b"\0"))
    return str(path)


def test_a_body_in_the_outbox_lies_where_its_lap_has_it(tmp_path: Path) -> None:
    path = outbox(tmp_path / "o", b"0123456789")
    assert bodies.read([path], Place(0, 3, 4)) == b"3456"
    assert bodies.read([path], Place(0, 7003, 4)) == b"3456"
    assert bodies.read([path], Place(0, 0, 0)) == b""


def test_a_body_in_the_spool_lies_in_a_file_of_its_number(tmp_path: Path) -> None:
    (tmp_path / "media-7.seg").write_bytes(b"0123456789")
    paths = bodies.candidates(Place(7, 3, 4), "/no/outbox", str(tmp_path))
    assert bodies.read(paths, Place(7, 3, 4)) == b"3456"


def test_an_outbox_that_has_gone_may_lie_in_the_spool(tmp_path: Path) -> None:
    outbox(tmp_path / "media.outbox", b"0123456789")
    paths = bodies.candidates(Place(0, 3, 4), str(tmp_path / "gone"), str(tmp_path))
    assert bodies.read(paths, Place(0, 3, 4)) == b"3456"


def test_a_stream_without_files_has_no_bodies() -> None:
    for place in (Place(0, 0, 1), Place(1, 0, 1)):
        with pytest.raises(UnfitError, match="its body is gone: the rank named no place"):
            bodies.read(bodies.candidates(place, "", ""), place)


def test_a_file_that_its_rank_says_it_has_dropped_was_dropped_and_a_later_one_is_gone(tmp_path: Path) -> None:
    (tmp_path / "media.dropped").write_text("7")
    for number in (1, 7):
        with pytest.raises(DroppedError):
            bodies.read(bodies.candidates(Place(number, 3, 4), "", str(tmp_path)), Place(number, 3, 4))
    for place in (Place(8, 3, 4), Place(0, 3, 4)):
        with pytest.raises(UnfitError, match="its body is gone"):
            bodies.read(bodies.candidates(place, "", str(tmp_path)), place)


def test_a_file_that_is_still_there_is_read_whatever_is_said_of_it(tmp_path: Path) -> None:
    (tmp_path / "media.dropped").write_text("7")
    (tmp_path / "media-7.seg").write_bytes(b"0123456789")
    paths = bodies.candidates(Place(7, 3, 4), "", str(tmp_path))
    assert bodies.read(paths, Place(7, 3, 4)) == b"3456"


@pytest.mark.parametrize("make", [
    lambda path: path.write_text("seven"),
    lambda path: path.write_text(""),
    lambda path: path.symlink_to("/dev/zero"),
    Path.mkdir,
    os.mkfifo,
])  # fmt: skip
def test_what_does_not_say_what_was_dropped_says_nothing(tmp_path: Path, make: Callable[[Path], object]) -> None:
    make(tmp_path / "media.dropped")
    with pytest.raises(UnfitError, match="its body is gone"):
        bodies.read(bodies.candidates(Place(1, 3, 4), "", str(tmp_path)), Place(1, 3, 4))


def _link(path: Path) -> None:
    path.with_name("real").write_bytes(b"x" * 100)
    path.symlink_to("real")


@pytest.mark.parametrize(("make", "reason"), [
    (Path.exists, "its body is gone: .*media-1.seg .deleted"),
    (lambda path: path.write_bytes(b"short"), "its body is gone: .* ends at 5, before 14"),
    (_link, "can't be read"),
    (Path.mkdir, "not a file"),
    (os.mkfifo, "not a file"),
])  # fmt: skip
def test_what_is_no_file_with_the_body_is_refused(tmp_path: Path, make: Callable[[Path], object], reason: str) -> None:
    make(tmp_path / "media-1.seg")
    with pytest.raises(UnfitError, match=reason):
        bodies.read([str(tmp_path / "media-1.seg")], Place(1, 10, 4))


@pytest.mark.parametrize("place", [Place(0, 998, 4), Place(0, 0, 1001), Place(0, (1 << 62) + 7, 999)])
def test_a_place_that_no_body_can_have_is_refused(tmp_path: Path, place: Place) -> None:
    with pytest.raises(UnfitError, match="crosses the outbox's end"):
        bodies.read([outbox(tmp_path / "o", b"")], place)


def test_a_file_that_is_no_outbox_is_not_read_as_one(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"secret" * 100)
    with pytest.raises(UnfitError, match="not an outbox"):
        bodies.read([str(tmp_path / "secret")], Place(0, 0, 10))


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = outbox(tmp_path / "o", b"0123456789")
    me = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: me + 1)
    with pytest.raises(UnfitError, match=f"belongs to user {me}"):
        bodies.read([path], Place(0, 0, 4))
