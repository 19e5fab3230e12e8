"""The seam between asynclog and one product.

A backend is a class in one file: it names what it can show, and has four methods, all synchronous, called from
one thread that is its own. `PermanentError` out of `write` dead-letters the batch's item; any other exception
means that the same items are offered again later, `ThrottledError` when the service says and more slowly. Everything
else (queue, batching, retry, rate limit, cursor, ledger) is the sink's business.

    class PrintBackend(Backend):
        kinds = frozenset({"points"})
        def open(self, run, position): ...
        def write(self, batch):
            for item in batch:
                for point in item:
                    print(point.name, point.step, point.value)
        def flush(self): return {}
        def close(self, status): ...
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import msgspec

from asynclog_proto.errors import AsynclogError
from asynclogd.points import Blob, Item, Media, Params, Point, Points, Rewind, RunEnd, Summary

__all__ = [
    "Backend",
    "BackendConfig",
    "Blob",
    "Item",
    "Kind",
    "Media",
    "Params",
    "PermanentError",
    "Point",
    "Points",
    "Position",
    "Rewind",
    "RunEnd",
    "RunInfo",
    "StartOverError",
    "Summary",
    "ThrottledError",
]

Kind = Literal["points", "media", "params", "summary", "rewind", "end"]

Position = Mapping[str, Any]
"""Where a backend durably is (a file's length, say), with text as keys: int, float, bool, None, str, bytes, and lists
and dicts of these. It is journaled; NumPy's numbers and paths are to be converted."""


class PermanentError(AsynclogError):
    """This item will never be accepted: dead-letter it and go on. `rows`: of a table that is so because of some of its
    rows, which ones, from 0; the rest is offered again without them.
    """

    rows: Sequence[int] = ()

    def __init__(self, text: str = "", rows: Sequence[int] = ()) -> None:
        super().__init__(*filter(None, [text]))
        self.rows = rows


class ThrottledError(AsynclogError):
    """The service takes no more for now (429, 503). `retry_after`: what it asks to wait, in s."""

    def __init__(self, text: str, retry_after: float | None = None) -> None:
        super().__init__(text)
        self.retry_after = retry_after


class StartOverError(AsynclogError):
    """Out of `open` alone: what the position stands for can't be gone on from. The backend is opened once more with
    position None, and offered everything since the run's beginning.
    """


class BackendConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Options of a backend; each backend has its own subclass, or this one for none."""


@dataclass(frozen=True, slots=True)
class RunInfo:
    """The run that a backend is opened for. `dir` is the run's directory, `own_dir` the backend's own in it
    (it exists when `open` is called). `read_blob` gives the bytes of a Media item's blob, from any thread; it raises
    OSError or, for a blob that is spoiled, ProtocolError.
    """

    project: str
    name: str
    dir: Path
    own_dir: Path
    world: int = 1
    extra: Mapping[str, Any] = field(default_factory=dict)
    read_blob: Callable[[Blob], bytes] | None = None


class Backend(ABC):
    """What every backend is. See the module's docstring."""

    kinds: ClassVar[frozenset[Kind]] = frozenset({"points"})
    """What it can show; the sink counts the rest as unsupported and never offers it."""

    local: ClassVar[bool] = True
    """Whether `finish()` in a training process waits for it: true for files on this machine."""

    Config: ClassVar[type[BackendConfig]] = BackendConfig

    requires: ClassVar[tuple[str, str] | None] = None
    """The module that `open` imports and the extra of asynclogd that installs it: what is told where it is missing."""

    default_rate_limit: ClassVar[Mapping[str, float]] = {}
    """The service's own limits, {pattern: points a second of a series}: they count after the option `rate_limit`."""

    points_per_second: ClassVar[float] = float("inf")
    """The service's own limit on all series together: what is more waits. The option `delivery` may say another."""

    def __init__(self, config: BackendConfig | None = None) -> None:
        """Keep the options, by default those of an empty Config; touch nothing yet."""
        self.config = self.Config() if config is None else config

    @abstractmethod
    def open(self, run: RunInfo, position: Position | None) -> None:
        """Begin (position None) or go on exactly at `position`: whatever was written after it is undone or
        overwritten, for it is offered again. One that begins removes or sets aside what it finds of an earlier life in
        `own_dir`, from which nothing counts. SDKs are imported here. Raises StartOverError.
        """

    @abstractmethod
    def write(self, batch: Sequence[Item]) -> None:
        """Take items of `kinds`, in order. May buffer until `flush`. Times are finite, from 1970 to 9999, and may
        go back.
        """

    @abstractmethod
    def flush(self) -> Position:
        """Everything written so far survives this process; where that is, {} where there is nothing to tell."""

    def trouble(self) -> str:
        """What goes wrong that no call has raised, of an upload in the background, say; "" for nothing. Asked now and
        then, on a thread of its own, beside any call.
        """
        return ""

    @abstractmethod
    def close(self, status: str) -> None:
        """Let go of files and connections. `status` is the run's, or "" when the daemon ends before it.
        Idempotent.
        """

    def spelt(self, name: str) -> str:
        """A name as it is there: itself where it can be taken as it is. No two names may become one."""
        return name

    def look(self, run: RunInfo) -> str:
        """How a person looks at what it has of the run: a command, an address or a place. Asked before it is open
        and then, or of a run that is over, where nothing was opened.
        """
        return str(run.own_dir)
