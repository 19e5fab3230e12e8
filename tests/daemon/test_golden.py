"""Journals of versions that were released are read by this one, whole and exactly; it goes on with them. What is newer
is refused and left as it is.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from asynclog_proto import wire
from asynclogd import journalrows
from asynclogd.catalog import JOURNAL
from asynclogd.entries import Commit
from asynclogd.journal import Journal, JournalVersionError
from tests.daemon.goldens import FORMS, GOLDEN, exported, facts_of, files, unpacked
from tests.daemon.make_golden import BACKENDS, rows
from tests.daemon.speaker import Speaker
from tests.e2e.conftest import Start, start
from tests.e2e.stored import asynclog_command

__all__ = ["start"]

VERSIONS = sorted(path.name for path in GOLDEN.iterdir())

each_version = pytest.mark.parametrize("version", VERSIONS)


def says(now: Any, kept: Any) -> bool:
    """Whether `now` has all that was kept; a later version may tell more."""
    if isinstance(kept, dict):
        return isinstance(now, dict) and all(key in now and says(now[key], value) for key, value in kept.items())
    if isinstance(kept, list):
        return isinstance(now, list) and len(now) == len(kept) and all(map(says, now, kept))
    return bool(now == kept)


def test_a_journal_of_this_format_is_kept(tmp_path: Path) -> None:
    """Else: python -m tests.daemon.make_golden."""
    formats = set()
    for version in VERSIONS:
        path = unpacked(version, tmp_path / version) / JOURNAL
        Journal.open(path).close()
        with contextlib.closing(sqlite3.connect(path)) as connection:
            formats |= set(connection.execute("PRAGMA user_version").fetchone())
    assert journalrows.FORMAT in formats


@each_version
def test_it_is_read_whole(version: str, tmp_path: Path) -> None:
    run_dir = unpacked(version, tmp_path)
    told = json.loads(json.dumps(facts_of(run_dir)))
    assert says(told, json.loads((GOLDEN / version / "journal.json").read_text()))
    for form in FORMS:
        assert exported(run_dir, form, tmp_path / form) == files(GOLDEN / version / form)


@each_version
def test_it_is_replayed_to_a_backend_that_it_never_had(version: str, tmp_path: Path) -> None:
    run_dir = unpacked(version, tmp_path)
    done = asynclog_command(
        "replay", run_dir, "--to", "again", "--option", "class=asynclogd.backends.jsonl:JsonlBackend"
    )
    assert done.returncode == 0, done.stderr
    assert files(run_dir / "again") == files(GOLDEN / version / "jsonl")


def with_a_snapshot_of_another_version(run_dir: Path) -> None:
    state = {"reducer": wire.pack({"version": 99})}
    with Journal.open(run_dir / JOURNAL) as journal:
        journal.commit(Commit(snapshot=wire.pack(state)))


@pytest.mark.fault("versions")
@pytest.mark.parametrize("snapshot", ["kept", "foreign"])
@each_version
def test_a_daemon_goes_on_with_it(
    version: str, snapshot: str, tmp_path: Path, runtime_dir: Path, start: Start, eventually: Callable[..., None]
) -> None:
    """Its last stream is welcomed where it was, and each backend has each point once."""
    run_dir = unpacked(version, tmp_path)
    if snapshot == "foreign":
        with_a_snapshot_of_another_version(run_dir)
    kept = json.loads((GOLDEN / version / "journal.json").read_text())
    start(sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics")
    eventually((runtime_dir / "daemon.sock").exists, what="the daemon")
    with Speaker(runtime_dir, tmp_path, "b0", launch="second") as speaker:
        assert speaker.hello().next_seq == kept["streams"][-1]["next_seq"]
        speaker.say(*rows(3, range(12, 14)))
        ledger = speaker.end(42).ledger
    assert (ledger["issued"], ledger["journaled"], ledger["dropped"]) == (99, 98, {"media_refused": 1})
    assert {name: backend["pending"] for name, backend in ledger["backends"].items()} == dict.fromkeys(BACKENDS, 0)
    expected = files(GOLDEN / version / "jsonl")["points.jsonl"].decode().splitlines()
    points = (run_dir / "jsonl" / "points.jsonl").read_text().splitlines()
    assert points[: len(expected)] == expected
    assert [json.loads(line).get("step") for line in points[len(expected) :]] == [12, 13, None]
    table = files(GOLDEN / version / "csv")["metrics.csv"].decode().splitlines()
    found = (run_dir / "csv" / "metrics.csv").read_text().splitlines()
    assert found[: len(table)] == table
    assert len(found) == len(table) + 2
    with Speaker(runtime_dir, tmp_path, "c0", launch="third") as speaker:
        assert speaker.hello().step == 13


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """A journal as the daemon of a later asynclog leaves it when it is killed."""
    run_dir, open_dir = tmp_path / "p" / "run", tmp_path / "open"
    run_dir.mkdir(parents=True)
    open_dir.mkdir()
    Journal.open(open_dir / JOURNAL).close()
    with contextlib.closing(sqlite3.connect(open_dir / JOURNAL, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA user_version = {journalrows.FORMAT + 1}")
        connection.execute("CREATE TABLE later (id INTEGER PRIMARY KEY)")
        connection.execute("INSERT INTO later VALUES (7)")
        shutil.copytree(open_dir, run_dir, dirs_exist_ok=True)
    return run_dir / JOURNAL


def content_of(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return [*connection.iterdump(), *map(str, connection.execute("PRAGMA user_version"))]


def test_a_newer_journal_is_refused_with_both_formats_and_left_as_it_is(newer: Path, tmp_path: Path) -> None:
    shutil.copytree(newer.parent, tmp_path / "before")
    with pytest.raises(JournalVersionError) as told:
        Journal.open(newer)
    both = f"format {journalrows.FORMAT + 1}.* up to {journalrows.FORMAT}"
    assert told.match(f"^{newer}: .*{both}.*update asynclog")
    assert content_of(newer) == content_of(tmp_path / "before" / JOURNAL)


@pytest.mark.fault("versions")
def test_a_run_whose_journal_is_newer_is_refused_by_the_daemon(
    newer: Path, tmp_path: Path, runtime_dir: Path, start: Start, eventually: Callable[..., None]
) -> None:
    before = content_of(newer)
    start(sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics")
    eventually((runtime_dir / "daemon.sock").exists, what="the daemon")
    with Speaker(runtime_dir, tmp_path, "a0", launch="first") as speaker, pytest.raises(AssertionError) as told:
        speaker.hello()
    assert told.match("Refused.*update asynclog")
    log = (tmp_path / "process-0.log").read_text()
    assert f"run p/run, rank 0 is refused: {newer}" in log
    assert content_of(newer) == before
