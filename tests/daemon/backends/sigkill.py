"""The contract with real kills, for a backend that is named by its class."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

from asynclogd import registry
from asynclogd.backends.base import Backend, Position
from asynclogd.samples import batch
from tests.daemon.backends.fulldisk import FullDiskContract

CHILD = """
import json, sys
from pathlib import Path
from asynclogd import registry
from asynclogd.backends.base import RunInfo
from asynclogd.samples import batch
where, own, first, position = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4])
backend = registry.build("it", {"class": where})
backend.open(RunInfo("digits", "run-1", own.parent, own, world=2), position)
for at in range(first, 10_000):
    backend.write(batch(at))
    print(json.dumps([at + 1, backend.flush()]), flush=True)
"""


class SigkillContract(FullDiskContract):
    where: ClassVar[str]
    """package.module:Class"""

    def make(self) -> Backend:
        return registry.build("it", {"class": self.where})

    def test_sigkill_at_any_moment(self, tmp_path: Path) -> None:
        """A child writes and tells its positions; it is killed, and the last position that it told is not committed."""
        run, first = self._run(tmp_path), 0
        position: Position | None = None
        for lines in (3, 40, 9):
            first, position = self._written_until_killed(run.own_dir, first, position, lines)
        backend = self.make()
        backend.open(run, position)
        backend.write(batch(first))
        backend.flush()
        backend.close("success")
        self._check(run, [item for at in range(first + 1) for item in batch(at)])

    def _written_until_killed(
        self, own: Path, first: int, position: Position | None, lines: int
    ) -> tuple[int, Position]:
        command = [sys.executable, "-c", CHILD, self.where, str(own), str(first), json.dumps(position)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            told = [child.stdout.readline() for _ in range(lines)]
            os.kill(child.pid, signal.SIGKILL)
            told += child.stdout.readlines()
        at, reached = json.loads([line for line in told if line.endswith("\n")][-2])
        return at, reached
