from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from asynclog_proto import frames, places, spoolfile
from asynclogd import living, removal
from asynclogd.entries import Commit
from asynclogd.journal import Journal, JournalBusyError
from asynclogd.points import Params
from asynclogd.removal import LivingError, remove
from tests.daemon.deadfiles import HELLO, row, write_spool

HOLD = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
fcntl.lockf(fd, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
"""

HOLDER = """
import sys
from pathlib import Path
from asynclogd.journal import Journal
with Journal.open(Path(sys.argv[1])):
    print("open", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    run_dir = tmp_path / "p" / "run"
    own = ("media/1.seg", "journal.begun", "spool/0-abc/1.spool", ".reading-x/copy.sqlite")
    for name in (*own, "csv/metrics.csv", "notes.txt"):
        (run_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (run_dir / name).write_text(name)
    os.utime(run_dir / "spool/0-abc/1.spool", (1, 1))
    with Journal.open(run_dir / "journal.sqlite") as journal:
        journal.commit(Commit(items=[Params({"a": 1})]))
    return run_dir


def names(run_dir: Path) -> list[str]:
    return sorted(path.name for path in run_dir.iterdir())


def test_what_is_asynclogs_own_goes_and_what_backends_wrote_stays(run_dir: Path) -> None:
    remove(run_dir)
    assert names(run_dir) == ["csv", "notes.txt"]


def test_directories_of_backends_go_when_they_are_named_and_no_others(run_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "p" / "other").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (run_dir / "link").symlink_to(tmp_path / "elsewhere")
    remove(run_dir, ["csv", "missing", ".", "..", "../other", str(tmp_path / "elsewhere"), "link"])
    assert names(run_dir) == ["link", "notes.txt"]
    assert names(tmp_path) == ["elsewhere", "p"]
    assert names(tmp_path / "p") == ["other", "run"]


def test_a_directory_that_is_empty_then_goes_too(run_dir: Path, tmp_path: Path) -> None:
    (run_dir / "notes.txt").unlink()
    remove(run_dir, ["csv"])
    assert names(tmp_path) == []


def test_a_run_that_is_open_is_not_touched(run_dir: Path) -> None:
    before = names(run_dir)
    command = [sys.executable, "-c", HOLDER, str(run_dir / "journal.sqlite")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(JournalBusyError):
            remove(run_dir, ["csv"])
        assert set(before) <= set(names(run_dir))


def test_one_that_can_not_be_read_goes_too(run_dir: Path) -> None:
    (run_dir / "journal.sqlite").write_bytes(b"spoiled " * 1000)
    remove(run_dir)
    assert names(run_dir) == ["csv", "notes.txt"]


def test_one_that_was_never_journaled_goes_too(run_dir: Path) -> None:
    (run_dir / "journal.sqlite").unlink()
    remove(run_dir)
    assert names(run_dir) == ["csv", "notes.txt"]


def test_a_journal_that_begins_while_the_old_one_goes_is_whole(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A daemon may begin the run anew right behind the removal of the file: the old journal's end does not touch it."""
    unlink = Path.unlink
    begun: list[Journal] = []

    def and_begin(path: Path, missing_ok: bool = False) -> None:
        unlink(path, missing_ok=missing_ok)
        if path.name == "journal.sqlite":
            begun.append(Journal.open(path))
            begun[0].commit(Commit(items=[Params({"new": 1})]))

    monkeypatch.setattr(Path, "unlink", and_begin)
    remove(run_dir)
    begun[0].commit(Commit(items=[Params({"new": 2})]))
    begun[0].close()
    with Journal.open(run_dir / "journal.sqlite") as journal:
        assert [item for _, item in journal.items(0, 1 << 20)] == [Params({"new": 1}), Params({"new": 2})]


def spool_of(run_dir: Path, **hello: Any) -> Path:
    """A spool that was written just now."""
    start = spoolfile.start(bytes(frames.encode(replace(HELLO, **hello))[0]))
    write_spool(run_dir / "spool" / "1-b", [start + spoolfile.entry(0, 1, row(0))])
    return run_dir / "spool" / "1-b"


@pytest.mark.parametrize("journaled", [True, False])
def test_one_that_a_living_process_spools_to_is_not_touched(run_dir: Path, journaled: bool) -> None:
    if not journaled:
        (run_dir / "journal.sqlite").unlink()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as rank:
        spool = spool_of(run_dir, host=os.uname().nodename, pid=rank.pid)
        before = sorted(run_dir.rglob("*"))
        with pytest.raises(LivingError, match=f"spools to it, to {spool}"):
            remove(run_dir, ["csv"])
        assert set(before) <= set(run_dir.rglob("*"))
        rank.kill()
        rank.wait()
    remove(run_dir, ["csv"])
    assert names(run_dir) == ["notes.txt"]


def test_the_spool_of_a_client_that_has_ended_goes_though_its_process_lives(run_dir: Path) -> None:
    spool = spool_of(run_dir, host=os.uname().nodename, pid=os.getpid())
    (spool / spoolfile.COUNTS).write_bytes(b"")
    remove(run_dir, ["csv"])
    assert names(run_dir) == ["notes.txt"]


def test_a_spool_of_another_machine_stays_while_it_is_written(run_dir: Path) -> None:
    spool = spool_of(run_dir, host="elsewhere")
    with pytest.raises(LivingError):
        remove(run_dir)
    for segment in spool.iterdir():
        os.utime(segment, (1, 1))
    remove(run_dir, ["csv"])
    assert names(run_dir) == ["notes.txt"]


@pytest.mark.parametrize("where", ["runtime", "run"])
def test_one_whose_ring_is_locked_is_not_touched(run_dir: Path, tmp_path: Path, where: str) -> None:
    """Its rank has sent and spooled nothing yet."""
    rings = {"runtime": tmp_path / "rings", "run": run_dir / "rings"}[where]
    rings.mkdir()
    ring = places.ring_path(rings, run_dir, 0, "abc")
    ring.touch()
    with subprocess.Popen([sys.executable, "-c", HOLD, ring], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as rank:
        assert rank.stdout is not None
        assert rank.stdout.readline() == b"held\n"
        with pytest.raises(LivingError, match=f"logs to it, by {ring}"):
            remove(run_dir, rings=[tmp_path / "rings"])
    remove(run_dir, ["csv"], [tmp_path / "rings"])
    assert names(run_dir) == ["notes.txt"]


def test_the_spool_of_a_rank_that_begins_while_it_goes_stays(run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that begins before the look is seen, one that begins behind it is not among what goes."""

    def and_spool(*looked_at: Any) -> str:
        told = living.sign_of_life(*looked_at)
        spool_of(run_dir, host=os.uname().nodename, pid=os.getpid())
        return told

    monkeypatch.setattr(removal, "sign_of_life", and_spool)
    remove(run_dir, ["csv"])
    assert names(run_dir) == ["notes.txt", "spool"]
    assert list(run_dir.rglob("*.spool"))
