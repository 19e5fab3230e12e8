"""The backends of fanout.py: real ones that note how late each step was flushed, and one that is slow."""

from __future__ import annotations

import time
from array import array
from collections.abc import Sequence
from pathlib import Path

from asynclogd.backends.base import Backend, BackendConfig, Item, Points, Position, RunInfo
from asynclogd.backends.csv import CsvBackend
from asynclogd.backends.jsonl import JsonlBackend
from asynclogd.backends.tensorboard import TensorBoardBackend

LAGS = "lags"
"""A file of float64 in the backend's directory: s from log() to the end of the flush that had the step."""


class Lags:
    """Times of what was written since the last flush; a file of what became of them."""

    def __init__(self) -> None:
        self._path = Path()
        self._times: list[float] = []

    def begin(self, run: RunInfo) -> None:
        self._path, self._times = run.own_dir / LAGS, []

    def wrote(self, batch: Sequence[Item]) -> None:
        for item in batch:
            if isinstance(item, Points) and not item.host:
                self._times += item.times.tolist()

    def flushed(self) -> None:
        now = time.time()
        with self._path.open("ab") as file:
            array("d", [now - at for at in self._times]).tofile(file)
        self._times = []


class Timed(Backend):
    """Mixed in before a backend: it does all, and its flushes are timed."""

    def open(self, run: RunInfo, position: Position | None) -> None:
        self._lags = Lags()
        self._lags.begin(run)
        super().open(run, position)  # type: ignore[safe-super]

    def write(self, batch: Sequence[Item]) -> None:
        super().write(batch)  # type: ignore[safe-super]
        self._lags.wrote(batch)

    def flush(self) -> Position:
        position = super().flush()  # type: ignore[safe-super]
        self._lags.flushed()
        return position


class TimedCsv(Timed, CsvBackend):
    pass


class TimedJsonl(Timed, JsonlBackend):
    pass


class TimedTensorBoard(Timed, TensorBoardBackend):
    pass


class CallConfig(BackendConfig, frozen=True):
    """`seconds` that each call takes."""

    seconds: float = 0.0


class Call(Backend):
    """Keeps nothing, and takes its time for it: a service that answers after so long."""

    local = False
    Config = CallConfig
    config: CallConfig

    def open(self, run: RunInfo, position: Position | None) -> None:
        del position
        time.sleep(self.config.seconds)
        self._lags = Lags()
        self._lags.begin(run)

    def write(self, batch: Sequence[Item]) -> None:
        time.sleep(self.config.seconds)
        self._lags.wrote(batch)

    def flush(self) -> Position:
        time.sleep(self.config.seconds)
        self._lags.flushed()
        return {}

    def close(self, status: str) -> None:
        del status
