"""A backend's secret is in none of the places where we write or show something."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Start

SECRET = "s3cr3t-that-nobody-shows"

BACKEND = '''
import msgspec
from asynclogd.backends.base import Backend, BackendConfig, PermanentError

class Config(BackendConfig):
    api_key: str = ""

class Loud(Backend):
    """Puts its key into whatever it says."""
    kinds = frozenset({"points"})
    Config = Config

    def open(self, run, position):
        assert self.config.api_key == "SECRET", "the reference was not followed"

    def write(self, batch):
        raise PermanentError(f"https://me:{self.config.api_key}@host said no to {self.config.api_key}")

    def flush(self):
        return {}

    def close(self, status):
        pass
'''.replace("SECRET", SECRET)

RANK = """
import sys, asynclog
with asynclog.init(project="p", name="r", dir=sys.argv[1], backends={"csv": {}, "loud": {
        "class": sys.argv[1] + "/loud.py:Loud", "api_key": sys.argv[2]}}) as run:
    run.log({"loss": 1.0}, 1)
"""


def test_it_is_in_no_file_and_no_status(
    start: Start, tmp_path: Path, runtime_dir: Path, status: Callable[[], list[dict[str, Any]]],
    eventually: Callable[..., None],
) -> None:  # fmt: skip
    (tmp_path / "loud.py").write_text(BACKEND)
    start(sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics", LOUD_API_KEY=SECRET)
    eventually((runtime_dir / "daemon.sock").exists, what="the daemon")
    rank = start(sys.executable, "-c", RANK, tmp_path, "env:LOUD_API_KEY")
    assert rank.wait(60) == 0
    eventually(lambda: dead(status()) == 1, what="the dead letter")
    assert SECRET not in json.dumps(status())
    left = [path for place in (tmp_path, runtime_dir) for path in place.rglob("*") if path.is_file()]
    told = [path.name for path in left if SECRET.encode() in path.read_bytes()]
    assert [name for name in told if name != "loud.py" and not name.endswith(".pyc")] == []
    assert b"said no to ***" in b"".join(path.read_bytes() for path in left)


def dead(reports: list[dict[str, Any]]) -> int:
    """Values of the run that the backend has refused."""
    ledgers = [run["ledger"] for report in reports for run in report["runs"]]
    ledgers += [closed["ledger"] for report in reports for closed in report["closed_runs"].values()]
    return sum(int(ledger["backends"]["loud"]["dead"]) for ledger in ledgers)


def test_one_that_is_written_out_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "loud.py").write_text(BACKEND.replace(SECRET, ""))
    done = subprocess.run(
        [sys.executable, "-c", RANK, str(tmp_path), SECRET], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert "'env:NAME' or 'file:PATH'" in done.stderr
    assert SECRET not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"loud.py"}
