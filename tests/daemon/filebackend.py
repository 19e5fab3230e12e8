"""A small backend that is real: a file of lines, with positions and undo; and what may go wrong with it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from typing import ClassVar

from asynclogd.backends.base import (
    Backend,
    BackendConfig,
    Item,
    Kind,
    PermanentError,
    Points,
    Position,
    RunInfo,
    StartOverError,
)

Fault = Callable[[str], str]
"""Asked before each call ("open", "write", "flush"): "" lets it work, "error" and "permanent" make it fail, "half"
makes a write fail after half of it."""


class FileBackend(Backend):
    """Writes `name step value logged` for a point and `repr` for the rest into own_dir/lines."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"points", "params", "rewind", "end"})

    def __init__(self, fault: Fault = lambda _: "", refused: frozenset[int] = frozenset()) -> None:
        super().__init__(BackendConfig())
        self.fault, self.refused = fault, refused
        self.closed: list[str] = []
        self._fd: int | None = None

    def open(self, run: RunInfo, position: Position | None) -> None:
        self._fail("open")
        self._fd = os.open(run.own_dir / "lines", os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        os.ftruncate(self._fd, position["bytes"] if position is not None else 0)

    def write(self, batch: Sequence[Item]) -> None:
        assert self._fd is not None
        text = "".join(lines(item) for item in batch).encode()
        refused = any(isinstance(item, Points) and self.refused & set(item.steps.tolist()) for item in batch)
        fault = self.fault("write")
        if refused or fault:
            os.write(self._fd, text[: len(text) // 2])
        if refused or fault == "permanent":
            raise PermanentError("a step that is refused")
        if fault:
            raise OSError(fault)
        os.write(self._fd, text)

    def flush(self) -> Position:
        assert self._fd is not None
        self._fail("flush")
        return {"bytes": os.fstat(self._fd).st_size}

    def close(self, status: str) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
            self.closed.append(status)

    def _fail(self, call: str) -> None:
        fault = self.fault(call)
        if fault == "permanent":
            raise PermanentError(f"{call} is refused")
        if fault:
            raise OSError(fault)


class AppendBackend(FileBackend):
    """Can undo nothing: a file that is not as long as the position says makes it start over."""

    def open(self, run: RunInfo, position: Position | None) -> None:
        path = run.own_dir / "lines"
        size = path.stat().st_size if path.exists() else 0
        if position is not None and size != position["bytes"]:
            raise StartOverError(f"{size} bytes where {position['bytes']} were committed")
        super().open(run, position)


class HangingBackend(FileBackend):
    """Its writes wait for `release`; `hangs` says that one does."""

    def __init__(self) -> None:
        super().__init__()
        self.hangs, self.release = threading.Event(), threading.Event()

    def write(self, batch: Sequence[Item]) -> None:
        self.hangs.set()
        self.release.wait(60)
        super().write(batch)


class RemoteBackend(FileBackend):
    """One that `finish()` does not wait for."""

    local: ClassVar[bool] = False


def lines(item: Item) -> str:
    """What a FileBackend writes for an item."""
    if not isinstance(item, Points):
        return f"{item!r}\n"
    counts = item.logged.reshape(-1).tolist()
    return "".join(
        f"{point.name} {point.step} {point.value!r} {logged}\n" for point, logged in zip(item, counts, strict=True)
    )
