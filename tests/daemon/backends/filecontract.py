"""The contract for backends that write files: also under SIGKILL. And what a reference to media says."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from asynclogd.backends.base import Backend, RunInfo
from asynclogd.samples import batch
from asynclogd.testing import BackendContract

CHILD = """
import importlib, json, sys
from pathlib import Path
from asynclogd.backends.base import RunInfo
from asynclogd.samples import batch
module, name, own, first, position = *sys.argv[1:3], Path(sys.argv[3]), int(sys.argv[4]), json.loads(sys.argv[5])
made = getattr(importlib.import_module(module), name)
backend = made(made.Config())
backend.open(RunInfo("digits", "run-1", own.parent, own, world=2), position)
for at in range(first, 10_000):
    backend.write(batch(at))
    print(json.dumps([at + 1, backend.flush()]), flush=True)
"""


class FileContract(BackendContract):
    """`backend` is the class; its default options are what is tested."""

    backend: ClassVar[type[Backend]]

    def make(self) -> Backend:
        return self.backend(self.backend.Config())

    def test_sigkill_at_any_moment(self, tmp_path: Path):
        """A child writes and tells its positions; it is killed, and the last position it told is not committed."""
        run, first, position = self._run(tmp_path), 0, None
        for lines in (3, 60, 9):
            first, position = self._written_until_killed(run.own_dir, first, position, lines)
        backend = self.make()
        backend.open(run, position)
        backend.write(batch(first))
        backend.flush()
        backend.close("success")
        self._check(run, [item for at in range(first + 1) for item in batch(at)])

    def _written_until_killed(self, own: Path, first: int, position: object, lines: int):
        place = [self.backend.__module__, self.backend.__name__]
        command = [sys.executable, "-c", CHILD, *place, str(own), str(first), json.dumps(position)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            told = [child.stdout.readline() for _ in range(lines)]
            os.kill(child.pid, signal.SIGKILL)
            told += child.stdout.readlines()
        whole = [line for line in told if line.endswith("\n")]
        return json.loads(whole[-2])


def referred(run: RunInfo, row: Mapping[str, Any]) -> tuple[str, int, bytes]:
    """What a reference says, read by nothing but what it says."""
    with (run.dir / row["file"]).open("rb") as file:
        file.seek(int(row["offset"]))
        data = file.read(int(row["size"]))
    assert hashlib.blake2b(data, digest_size=16).hexdigest() == row["digest"]
    return row["name"], int(row["step"]), data
