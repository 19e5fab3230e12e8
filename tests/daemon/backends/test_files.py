from __future__ import annotations

from pathlib import Path

import pytest

from asynclogd.backends._files import AppendFile, TakenOut, replace, set_aside
from tests.filesize import files_of_at_most


def test_a_failed_flush_keeps_the_bytes_and_tears_nothing(tmp_path: Path):
    file = AppendFile(tmp_path / "f", 0, fsync=False)
    file.append(b"whole")
    assert file.flush() == 5
    file.append(b"x" * 4096)
    with files_of_at_most(1000), pytest.raises(OSError, match="File too large"):
        file.flush()
    assert file.flush() == 4101
    assert (tmp_path / "f").read_bytes() == b"whole" + b"x" * 4096
    file.close()


def test_opening_cuts_what_is_beyond_the_length(tmp_path: Path):
    (tmp_path / "f").write_bytes(b"kept-and-not")
    file = AppendFile(tmp_path / "f", 4, fsync=True)
    file.append(b"!")
    file.flush()
    file.close()
    assert (tmp_path / "f").read_bytes() == b"kept!"


def test_many_pending_bytes_do_not_wait_for_the_flush(tmp_path: Path):
    file = AppendFile(tmp_path / "f", 0, fsync=False)
    for _ in range(20):
        file.append(bytes(1 << 20))
    assert (tmp_path / "f").stat().st_size >= 16 << 20
    assert file.flush() == 20 << 20
    file.close()


def test_replacing_leaves_the_old_content_when_it_fails(tmp_path: Path):
    path = tmp_path / "f"
    replace(path, [b"old"], fsync=False)

    def broken():
        yield b"new"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        replace(path, broken(), fsync=False)
    assert path.read_bytes() == b"old"
    replace(path, [b"n", b"ew"], fsync=True)
    assert path.read_bytes() == b"new"


def test_event_files_set_aside_are_invisible_to_tensorboard(tmp_path: Path):
    (tmp_path / "events.out.tfevents.1.asynclog").write_bytes(b"x")
    aside = set_aside(tmp_path / "events.out.tfevents.1.asynclog")
    assert aside is not None
    assert aside.read_bytes() == b"x"
    assert "tfevents" not in aside.name
    assert set_aside(tmp_path / "absent") is None


def test_what_a_crash_has_taken_out_is_explained_until_a_position_behind_it_is_sure(tmp_path: Path) -> None:
    """What comes again finds nothing to take out, and the flush after that one is the first whose position is."""
    TakenOut(tmp_path / "mark").note()
    again = TakenOut(tmp_path / "mark")
    assert again.explains(5, 9)
    again.flushed()
    assert TakenOut(tmp_path / "mark").explains(5, 9)
    again.flushed()
    assert not TakenOut(tmp_path / "mark").explains(5, 9)
