"""A call of a backend that does not come back: it is told of, and delays nobody."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import asynclog
from asynclog_proto import places
from asynclogd import talk
from tests.e2e.oracle import csv_series

STUBBORN = Path(__file__).with_name("stubborn.py")

pytestmark = pytest.mark.timeout(120)


def test_a_call_that_takes_longer_than_it_may_is_told_of_and_others_go_on(
    tmp_path: Path, runtime_dir: Path, eventually: Callable[..., None]
) -> None:
    def told() -> dict[str, Any]:
        (run,) = talk.ask(places.endpoint(places.runtime_dir(os.environ, os.getuid())), "status", timeout=30)["runs"]
        found: dict[str, Any] = run["backends"]["slow"]
        return found

    def logged(text: str) -> bool:
        return any(text in log.read_text() for log in runtime_dir.glob("**/daemon.log"))

    run_dir = tmp_path / "p" / "run"
    hangs = run_dir / "slow" / "hangs"
    hangs.parent.mkdir(parents=True)
    hangs.touch()
    slow = {"class": f"{STUBBORN}:StubbornBackend", "delivery": {"timeout": 0.2}}
    with asynclog.init("p", "run", dir=str(tmp_path), backends={"csv": {}, "slow": slow}) as run:
        run.log({"loss": 1.0}, step=0)
        eventually(lambda: logged("slow: its write hangs"), 30, "the line in the log")
        found = told()
        assert (found["state"], found["call"], found["timeouts"]) == ("hanging", "write", 1)
        run.log({"loss": 2.0}, step=1)
        assert run.flush(timeout=60)
        assert csv_series(run_dir, "loss") == {0: [1.0], 1: [2.0]}
        hangs.unlink()
        eventually(lambda: logged("slow: its write has come back"), 30, "the end of the call")
        eventually(lambda: told()["behind_items"] == 0, 30, "delivery")
        assert told()["state"] == "ok"
    assert len((run_dir / "slow" / "lines").read_text().splitlines()) >= 2


KILLED = """
import os, signal, sys, asynclog
run = asynclog.init("p", "other", dir=sys.argv[1], backends=["csv"])
for step in range(10):
    run.log({"loss": float(step)}, step=step)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_backend_that_does_not_say_what_is_wrong_delays_no_other_run_and_no_end(
    tmp_path: Path, eventually: Callable[..., None]
) -> None:
    silent = {"class": f"{STUBBORN}:SilentBackend"}
    with asynclog.init("p", "run", dir=str(tmp_path), backends={"csv": {}, "silent": silent}) as run:
        run.log({"loss": 1.0}, step=0)
        eventually((tmp_path / "p" / "run" / "silent" / "asked").exists, 30, "the question")
        killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
        assert killed.returncode == -signal.SIGKILL
        table = tmp_path / "p" / "other" / "csv" / "metrics.csv"
        eventually(lambda: table.exists() and len(table.read_text().splitlines()) == 11, 30, "what the dead rank left")
    daemon = psutil.Process(talk.ask(places.endpoint(places.runtime_dir(os.environ, os.getuid())))["daemon"]["pid"])
    daemon.terminate()
    eventually(lambda: not daemon.is_running() or daemon.status() == psutil.STATUS_ZOMBIE, 20, "the daemon's end")
