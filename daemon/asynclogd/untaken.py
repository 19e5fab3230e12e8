"""What could not be taken up: why that may pass, and when it is looked at again. Pure: the clock is the caller's."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Mapping
from pathlib import Path

from asynclog_proto.errors import AsynclogError
from asynclogd.journal import JournalBusyError

AGAIN_SECONDS = 2.0
"""What passes by itself is looked at again after so long."""

MENDED_SECONDS = 60.0
"""... and what a person may have mended."""


class BusyError(AsynclogError):
    """A cap is reached; it may not be later."""


class RunDirError(AsynclogError):
    """The run's directory can't be made."""


def again_after(error: Exception) -> float:
    """For how long it makes no sense to try what has failed so, s; endless for what this process can't do."""
    if isinstance(error, RunDirError):
        return MENDED_SECONDS
    passes = isinstance(error, (BusyError, JournalBusyError, OSError, sqlite3.Error))
    return AGAIN_SECONDS if passes else math.inf


class Untaken:
    """Paths that were not taken up: each is left alone until it is due to be tried again, if ever, and stays here until
    that has been tried.
    """

    def __init__(self) -> None:
        self._due: dict[Path, float] = {}

    def add(self, path: Path, now: float, seconds: float = math.inf) -> None:
        """It is left alone for so long, from `now` on (monotonic seconds)."""
        self._due[path] = now + seconds

    def due(self, now: float) -> dict[Path, float]:
        """Those that are to be tried now, and since when."""
        return {path: at for path, at in self._due.items() if at <= now}

    def tried(self, due: Mapping[Path, float]) -> None:
        """Those of these that were not added again since are here no more."""
        for path, at in due.items():
            if self._due.get(path) == at:
                del self._due[path]

    def left_alone(self, now: float) -> set[Path]:
        """Those that are not to be tried yet, or never."""
        return {path for path, at in self._due.items() if at > now}

    @property
    def waiting(self) -> set[Path]:
        """Those that will be tried."""
        return {path for path, at in self._due.items() if at < math.inf}

    @property
    def paths(self) -> set[Path]:
        """All of them."""
        return set(self._due)
