"""A worker that logs until it is told that it is enough, under whose daemon a disk may break."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.e2e.conftest import HERE, Start
from tests.e2e.oracle import returned


class Endless:
    """A rank at the daemon in `runtime`, which a test starts with `start_daemon`, in an environment of its own."""

    def __init__(self, start: Start, out: Path, runtime: Path, environment: dict[str, str]) -> None:
        self._start, self._out, self._runtime, self._environment = start, out, runtime, environment
        self.enough = out / "enough"

    def start_daemon(self, *options: object) -> None:
        command = [sys.executable, "-m", "asynclogd", "daemon", "--no-host-metrics", *options]
        self._start(*command, **self._environment)

    def begin(self) -> subprocess.Popen[str]:
        command = [HERE / "worker.py", self._out, "--period", "0.001", "--endless", "--until", self.enough]
        return self._start(sys.executable, *command, ASYNCLOG_ENDPOINT=f"ipc://{self._runtime}/daemon.sock")

    @property
    def steps(self) -> int:
        return returned(self._out / "returned-run-0") + 1
