"""The contract with a disk that takes no more for a while, for a backend that writes files."""

from __future__ import annotations

import contextlib
from pathlib import Path

from asynclogd.samples import batch
from asynclogd.testing import BackendContract
from tests.filesize import files_of_at_most

MOST_BATCHES = 3000


class FullDiskContract(BackendContract):
    def test_a_disk_that_was_full_lacks_nothing_afterwards(self, tmp_path: Path) -> None:
        """The backend says so, and a session that goes on from the last position brings what was refused."""
        run = self._run(tmp_path)
        position = self._killed(run, None, [batch(0)], [])
        backend = self.make()
        self._open(backend, run, position)
        told, refused = None, 0
        largest = max(path.stat().st_size for path in run.own_dir.rglob("*") if path.is_file())
        with files_of_at_most(largest):
            while told is None and refused < MOST_BATCHES:
                refused += 1
                try:
                    backend.write(batch(refused))
                    backend.flush()
                except Exception as error:
                    told = error
            with contextlib.suppress(Exception):
                backend.close("")
        assert told is not None, f"{refused} batches were taken, and nothing was said"
        backend = self.make()
        self._open(backend, run, position)
        for at in range(1, refused + 1):
            backend.write(batch(at))
        backend.flush()
        backend.close("success")
        self._check(run, [item for at in range(refused + 1) for item in batch(at)])
