"""Files that did not travel: what is read, and what is refused for good instead of being tried without end."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asynclogd.backends._sources import files_in, source_of
from asynclogd.backends.base import Blob, Media, PermanentError
from asynclogd.media import forms

NOBODY = 65534


def told(path: Any, *, size: int = 0, kind: str = "file") -> Media:
    return Media("f", 1, 0.0, kind, forms.BYTES, {"path": path}, Blob("", 1, 0, size))


def bind(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))


def test_a_file_and_a_directory_are_read_where_they_are_and_what_has_bytes_in_the_store(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    (tmp_path / "link").symlink_to("f")
    for path in (tmp_path, tmp_path / "f", tmp_path / "link"):
        assert source_of(told(str(path))) == path
    for stored in (told(str(tmp_path / "f"), size=1), told(None), told(str(tmp_path / "f"), kind="text")):
        assert source_of(stored) is None


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda _: None, "is not there any more"),
        (os.mkfifo, "is neither a file nor a directory"),
        (bind, "is neither a file nor a directory"),
        (lambda path: path.symlink_to("nowhere"), "is not there any more"),
        (lambda path: path.symlink_to(path), "loop|is not there any more|symbolic links"),
        (lambda path: path.symlink_to("/dev/null"), "is neither a file nor a directory"),
    ],
)
def test_what_is_nothing_to_read_is_refused_for_good(make: Callable[[Path], Any], why: str, tmp_path: Path) -> None:
    make(tmp_path / "x")
    with pytest.raises(PermanentError, match=why):
        source_of(told(str(tmp_path / "x")))


@pytest.mark.parametrize("path", ["", ".", "f", "s3://bucket/f", "file:///etc/hostname", "/x" + "y" * 300, "/x\0y"])
def test_what_is_no_path_of_a_disk_is_refused_for_good(path: str, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f").touch()
    with pytest.raises(PermanentError):
        source_of(told(path))


def test_of_a_directory_all_files_are_taken_and_what_is_none_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    for name in ("b/deep/f", "b/g", "a"):
        (tmp_path / name).touch()
    (tmp_path / "b" / "link").symlink_to("../a")
    (tmp_path / "b" / "dangling").symlink_to("nowhere")
    (tmp_path / "b" / "deep" / "round").symlink_to(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    found = files_in(tmp_path)
    assert [str(inside) for inside, _ in found] == ["a", "b/deep/f", "b/g", "b/link"]
    assert all(tmp_path / inside == path for inside, path in found)


AS_NOBODY = """
import os, sys
from asynclogd.backends._sources import files_in, source_of
from asynclogd.backends.base import PermanentError
from tests.daemon.backends.test_sources import NOBODY, told
if os.geteuid() == 0:
    os.setgroups([])
    os.setresgid(NOBODY, NOBODY, NOBODY)
    os.setresuid(NOBODY, NOBODY, NOBODY)
for path in sys.argv[1:]:
    try:
        source = source_of(told(path))
        print(len(files_in(source)) if source.is_dir() else "read")
    except PermanentError as error:
        print("refused", path.rpartition("/")[2])
"""


def test_what_the_daemon_may_not_read_is_refused_for_good() -> None:
    """Root may read all, so that a process of root's asks as nobody; in a directory that others may enter."""
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        for directory in ("open", "has-closed-file", "has-closed", "closed"):
            (top / directory).mkdir()
            (top / directory / "f").touch()
        (top / "has-closed" / "sub").mkdir()
        (top / "file").touch()
        (top / "closed-file").touch()
        closed = [top / each for each in ("has-closed-file/f", "has-closed/sub", "closed", "closed-file")]
        for path in closed:
            path.chmod(0)
        top.chmod(0o755)
        asked = ["open", "file", "closed-file", "closed", "closed/f", "has-closed-file", "has-closed"]
        command = [sys.executable, "-c", AS_NOBODY, *(str(top / each) for each in asked)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        for path in closed:
            path.chmod(0o700)
    refused = [f"refused {each.rpartition('/')[2]}" for each in asked[2:]]
    assert done.stdout.splitlines() == ["1", "read", *refused]
