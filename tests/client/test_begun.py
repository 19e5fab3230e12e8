"""Processes that log to a run leave their order in its directory."""

from __future__ import annotations

from pathlib import Path

import asynclog
from asynclog import begun
from asynclog_proto import places


def test_each_process_is_behind_those_before(tmp_path: Path) -> None:
    for name in ("b", "a", "c"):
        begun.note(tmp_path, name)
    assert places.begun_path(tmp_path).read_text().split() == ["b", "a", "c"]


def test_a_line_that_was_cut_spoils_no_other(tmp_path: Path) -> None:
    places.begun_path(tmp_path).write_text("\nabc")
    begun.note(tmp_path, "d")
    assert places.begun_path(tmp_path).read_text().split() == ["abc", "d"]


def test_where_it_cannot_be_written_nothing_happens(tmp_path: Path) -> None:
    begun.note(tmp_path / "none", "a")
    (tmp_path / "other").write_text("")
    places.begun_path(tmp_path).symlink_to(tmp_path / "other")
    begun.note(tmp_path, "a")
    assert (tmp_path / "other").read_text() == ""
    assert not (tmp_path / "none").exists()


def test_a_run_notes_itself_and_one_that_is_disabled_leaves_nothing(tmp_path: Path) -> None:
    with asynclog.init("p", "run", dir=str(tmp_path), mode="offline"):
        pass
    assert len(places.begun_path(tmp_path / "p" / "run").read_text().split()) == 1
    with asynclog.init("p", "off", dir=str(tmp_path), mode="disabled"):
        pass
    assert not (tmp_path / "p" / "off").exists()
