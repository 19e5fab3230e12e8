"""The least that could be done with the ranks' batches in the daemon's place, and with its journal's bytes."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from asynclog_proto.records import ROW_HEAD


def written_plainly(path: Path, size: int, writes: int) -> float:
    """Seconds in which `size` bytes are in a plain file and on its disk: so many equal writes, one after the other, and
    an fsync, as the journal has when it is closed.
    """
    part = os.urandom(-(-size // writes))
    began = time.perf_counter()
    with path.open("wb", buffering=0) as file:
        for _ in range(writes):
            file.write(part)
        os.fsync(file.fileno())
    return time.perf_counter() - began


class Floor:
    """NumPy decodes every rank's rows and takes their mean, as if none could be missing, late or of another shape; with
    a `path` both are written to a plain file, unsynced. Rows have `names` values.
    """

    def __init__(self, names: int, path: Path | None = None) -> None:
        self.cpu = 0.0
        """seconds of CPU that it took"""
        self._row = np.dtype({"names": ["values"], "formats": [(">f8", names)], "offsets": [ROW_HEAD.size]})
        self._size = ROW_HEAD.size + 8 * names
        self._file = None if path is None else path.open("wb", buffering=0)

    def take(self, messages: list[list[bytes | memoryview]], now: float = 0.0) -> None:  # noqa: ARG002 - as the daemon's
        """A batch of each rank."""
        began = time.process_time()
        means = self.mean(messages)
        if self._file is not None:
            for _, payload in messages:
                self._file.write(payload)
            self._file.write(means.tobytes())
        self.cpu += time.process_time() - began

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()

    def mean(self, messages: list[list[bytes | memoryview]]) -> NDArray[np.float64]:
        """Over the ranks: (rows, names), float64."""
        found = []
        for _, payload in messages:
            rows = len(payload) // self._size
            at = len(payload) - rows * self._size  # behind the layouts of a first batch
            found.append(np.ndarray((rows,), self._row, payload, at, (self._size,))["values"].astype(np.float64))
        means: NDArray[np.float64] = np.mean(found, axis=0)
        return means
