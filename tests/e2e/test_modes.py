"""Who may read and write what a rank, its daemon and `asynclog keys` make, under the laxest umask and the strictest."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.daemons import alive, daemon_pid

pytestmark = pytest.mark.timeout(120)

OURS = ("journal.*", "spool/*/*", "rings/*")
"""What of a run's directory is for its user alone."""

DELIVERED = ("csv", "jsonl", "parquet", "tensorboard", "media")
"""What others may be meant to read."""

RANK = """
import asynclog, sys
from pathlib import Path
out = sys.argv[1]
left = asynclog.init("p", "left", dir=out, mode="offline")
left.log({"loss": 1.0})
left.log_text("note", "in the spool")
left.finish()
run = asynclog.init("p", "run", dir=out, backends=["csv", "jsonl", "parquet", "tensorboard"])
run.log({"loss": 1.0})
run.log_text("note", "in the media store")
run.flush()
print("logged", flush=True)
sys.stdin.readline()
run.finish()
"""


def modes(paths: Iterable[Path]) -> dict[Path, int]:
    return {path: stat.S_IMODE(path.lstat().st_mode) for path in paths if not path.is_symlink()}


def of_run(run_dir: Path) -> dict[Path, int]:
    return modes(path for pattern in OURS for path in run_dir.glob(pattern))


def delivered(run_dir: Path) -> dict[Path, int]:
    return modes(path for name in DELIVERED for path in [run_dir / name, *(run_dir / name).rglob("*")])


@contextmanager
def logging(out: Path, umask: int) -> Iterator[None]:
    """While a rank lives that has logged, and its daemon has delivered that."""
    command = [sys.executable, "-c", RANK, str(out)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, umask=umask) as rank:
        assert rank.stdout is not None
        assert rank.stdout.readline() == "logged\n"
        yield
    assert rank.returncode == 0


@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_nobody_else_reads_what_is_ours_nor_writes_anything_whatever_the_umask(
    umask: int, tmp_path: Path, runtime_dir: Path
) -> None:
    """The daemon is started by the rank, and has its umask."""
    keys, out = tmp_path / "keys", tmp_path / "out"
    command = [sys.executable, "-m", "asynclogd", "keys", "new"]
    subprocess.run(command, env={**os.environ, "ASYNCLOG_KEYS": str(keys)}, check=True, umask=umask)
    with logging(out, umask):
        assert alive(daemon_pid(runtime_dir))
        ours = modes([runtime_dir, *runtime_dir.rglob("*"), keys, *keys.rglob("*")])
        ours |= of_run(out / "p" / "run") | of_run(out / "p" / "left")
        theirs = delivered(out / "p" / "run")

    names = {path.name for path in ours} | {path.suffix for path in ours}
    assert {"daemon.sock", "daemon.lock", "daemon.log", ".ring", "client.secret", "journal.sqlite", ".spool"} <= names
    assert {path: oct(mode) for path, mode in ours.items() if mode & 0o077} == {}

    assert {path.name for path in theirs} > {"metrics.csv", "points.jsonl", "1.seg", *DELIVERED}
    assert {path: oct(mode) for path, mode in theirs.items() if mode & 0o022} == {}
    read = {bool(mode & 0o044) for mode in theirs.values()}
    assert read == {umask == 0o000}, "who may read what is delivered is for the umask to say"


def test_a_sync_makes_nothing_that_others_may_write(tmp_path: Path) -> None:
    rank = "import asynclog, sys; asynclog.init('p', 'run', dir=sys.argv[1], mode='offline').log({'loss': 1.0})"
    subprocess.run([sys.executable, "-c", rank, str(tmp_path)], check=True, umask=0)
    subprocess.run([sys.executable, "-m", "asynclogd", "sync", str(tmp_path)], check=True, umask=0)
    run = tmp_path / "p" / "run"
    assert {path.name: oct(mode) for path, mode in modes(run.rglob("*.*")).items() if mode & 0o022} == {}
    assert modes([run / "csv" / "metrics.csv"]).popitem()[1] == 0o644
