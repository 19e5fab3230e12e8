"""A file backend whose thread stops before and after each of its calls until the test lets it go on, or has it fail."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from typing import ClassVar

from asynclogd.backends.base import Item, PermanentError, Points, Position, RunInfo
from asynclogd.backends.jsonl import JsonlBackend

BACKEND = "lines"
BACKENDS = {
    BACKEND: {
        "class": "tests.faults.gate:Gated",
        "delivery": {"first_retry": 0.001, "longest_retry": 0.002, "flush_interval": 0.0},
    }
}


class DiedError(Exception):
    """The daemon is dead; nothing that it would still do counts."""


class Gate:
    """Where a backend's thread waits for the test, before and after each call."""

    def __init__(self) -> None:
        self.passes = 0
        self.waiting = False
        self.fault = ""
        """of the next call: "error", "half" (what it writes is there in part) or "permanent" """
        self.refused: set[int] = set()
        """steps that are never taken"""
        self._gone = False
        self._changed = threading.Condition()

    def let(self, passes: int) -> None:
        with self._changed:
            self.passes, self.waiting = passes, False
            self._changed.notify_all()

    def end(self) -> None:
        with self._changed:
            self._gone = True
            self._changed.notify_all()

    def stop(self) -> None:
        """For the backend's thread."""
        with self._changed:
            while self.passes <= 0 and not self._gone:
                self.waiting = True
                self._changed.wait()
            if self._gone:
                raise DiedError
            self.passes -= 1

    def take_fault(self) -> str:
        fault, self.fault = self.fault, ""
        return fault


class Gated(JsonlBackend):
    """JSON Lines behind a gate."""

    gate: ClassVar[Gate]
    """of the daemon that is there now; a backend is built by its class's name"""

    def open(self, run: RunInfo, position: Position | None) -> None:
        self._here, self._path = type(self).gate, run.own_dir / "points.jsonl"
        self._before("open")
        super().open(run, position)
        self._here.stop()

    def write(self, batch: Sequence[Item]) -> None:
        self._before("write")
        if any(isinstance(item, Points) and self._here.refused & set(item.steps.tolist()) for item in batch):
            raise PermanentError("a step that is refused")
        super().write(batch)
        self._here.stop()

    def flush(self) -> Position:
        self._before("flush")
        position = super().flush()
        self._here.stop()
        return position

    def _before(self, call: str) -> None:
        self._here.stop()
        fault = self._here.take_fault()
        if fault == "half" and call == "flush":
            with self._path.open("ab") as file:
                file.write(b'{"step":1,"time":')
        if fault == "permanent" and call != "open":
            raise PermanentError("refused for good")
        if fault:
            raise OSError(errno.EIO, os.strerror(errno.EIO), call)
