"""A backend in a file of its own, for processes that are told `class`: lines in a file, and what may go wrong with it.

It refuses to open while `broken` is beside its file, is down from step 1,000 on while `down` is there, and hangs while
`hangs` is.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path

from asynclogd.backends.base import Backend, Item, PermanentError, Points, Position, RunInfo


class StubbornBackend(Backend):
    """`name step value` a line in own_dir/lines, cut to the position when it is opened."""

    local = False

    def open(self, run: RunInfo, position: Position | None) -> None:
        self.own_dir: Path = run.own_dir
        if (self.own_dir / "broken").exists():
            raise PermanentError("wrong credentials")
        self.fd = os.open(self.own_dir / "lines", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self.fd, position["bytes"] if position is not None else 0)

    def write(self, batch: Sequence[Item]) -> None:
        while (self.own_dir / "hangs").exists():
            time.sleep(0.01)
        for item in batch:
            assert isinstance(item, Points)
            if (self.own_dir / "down").exists() and item.steps.max() >= 1000:
                raise ConnectionError("the service is down")
            lines = "".join(f"{point.name} {point.step} {point.value!r}\n" for point in item)
            os.write(self.fd, lines.encode())

    def flush(self) -> Position:
        return {"bytes": os.fstat(self.fd).st_size}

    def close(self, status: str) -> None:
        del status
        if "fd" in vars(self):
            os.close(self.fd)
            del self.fd


class SilentBackend(StubbornBackend):
    """One that never says whether anything is wrong."""

    def trouble(self) -> str:
        (self.own_dir / "asked").touch()
        while True:
            time.sleep(60)
