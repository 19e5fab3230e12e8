"""What flows out of the reducer, in one order: closed points as tables, and the run's own facts.

Points are columnar because everything that handles them does so by the thousand. A backend that would rather
have single points iterates: `for point in points`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Union

import numpy as np
from numpy.typing import NDArray

from asynclog_proto.limits import MAX_TIME
from asynclog_proto.records import Scalar

EARLIEST, LATEST = 0.0, MAX_TIME
"""What any product can show, in s since the epoch."""


@dataclass(frozen=True, slots=True)
class Point:
    """One value of one series at one step."""

    name: str
    step: int
    time: float
    value: float
    ranks: int
    world: int


@dataclass(frozen=True, slots=True, eq=False)
class Points:
    """A table of k steps by m series; every cell is a point.

    names   (m,)            series, unique
    steps   (k,)   int64    in order of closing; a step may come again in a later table
    times   (k,)   float64  s since the epoch: when the last of the step's values was logged; of a revision at least
                            2 ms past that of what it replaces, where the daemon still knows that
    values  (k, m) float64
    ranks   (k, m) uint32   how many distinct ranks the value is of: the n of "n of world"
    logged  (k, m) uint32   how many logged values the point accounts for in the ledger (0 for a further view of
                            values that another point accounts for, like per-rank series beside a mean)
    world   world size when the steps closed
    revision    these points replace earlier ones of the same series and step: late values came in
    holders (k, m) int32 or None: for min and max, the rank that held the value; -1 beside them
    host    the daemon's own metrics of its host, whatever their names
    """

    names: tuple[str, ...]
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    values: NDArray[np.float64]
    ranks: NDArray[np.uint32]
    logged: NDArray[np.uint32]
    world: int
    generation: int = 0
    revision: bool = False
    holders: NDArray[np.int32] | None = None
    host: bool = False

    def __len__(self) -> int:
        """The number of points."""
        return int(self.values.size)

    def __iter__(self) -> Iterator[Point]:
        """Every point, step by step."""
        for row, (step, time, values) in enumerate(self.rows()):
            for column, name in enumerate(self.names):
                yield Point(name, step, time, values[column], int(self.ranks[row, column]), self.world)

    def rows(self) -> Iterator[tuple[int, float, list[float]]]:
        """Yield (step, time, values in the order of `names`) for each step."""
        yield from zip(self.steps.tolist(), self.times.tolist(), self.values.tolist(), strict=True)

    @property
    def logged_total(self) -> int:
        """How many logged values these points account for."""
        return int(self.logged.sum())


@dataclass(frozen=True, slots=True)
class Blob:
    """Bytes in the run's media store: `size` of them at `offset` of segment `segment`. `digest` is their BLAKE2b, 16
    bytes in hex.
    """

    digest: str
    segment: int
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Media:
    """An image, a sound, a histogram, ... as it was encoded. `form` is the content type of the blob (media/forms.py),
    `options` are what the rank said of it (caption, frame rate) and what the encoder found (width, height). `name` has
    the rank in it for all ranks but 0: `name/rank3`. It accounts for one logged value.
    """

    name: str
    step: int
    time: float
    kind: str
    form: str
    options: Mapping[str, Any]
    blob: Blob
    rank: int = 0
    generation: int = 0


@dataclass(frozen=True, slots=True)
class Params:
    """Hyperparameters that are new or have changed, names flat."""

    values: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Summary:
    """Final values that are new or have changed, names flat."""

    values: Mapping[str, Scalar]


@dataclass(frozen=True, slots=True)
class Rewind:
    """The run was resumed at `step`: it runs that step and those after it again, and the earlier points of
    those steps are superseded.
    """

    step: int
    generation: int


@dataclass(frozen=True, slots=True)
class RunEnd:
    """Every rank has ended; the worst of their statuses: success, interrupted, killed or failed. A resumed run ends
    again.
    """

    status: str


@dataclass(frozen=True, slots=True)
class Lost:
    """What was here can't be read any more, nor made anew: no backend gets it."""

    count: int
    """logged values; those of several that are lost are counted at the first"""
    reason: str


Item = Union[Points, Media, Params, Summary, Rewind, RunEnd, Lost]  # noqa: UP007 - evaluated at run time on 3.10
"""One entry of the order that sinks follow."""


def logged(item: Item) -> int:
    """How many logged values an item accounts for."""
    if isinstance(item, Points):
        return item.logged_total
    return item.count if isinstance(item, Lost) else int(isinstance(item, Media))


def of_showable_times(item: Item) -> Item:
    """The item, its times from EARLIEST to LATEST. A rank may have said anything, ms instead of s, say: what is outside
    becomes the nearer of the two, NaN the earliest.
    """
    if isinstance(item, Points) and len(times := item.times):
        if times.min() >= EARLIEST and times.max() <= LATEST:
            return item
        return replace(item, times=np.fmin(np.fmax(times, EARLIEST), LATEST))
    if isinstance(item, Media) and not EARLIEST <= item.time <= LATEST:
        return replace(item, time=min(max(EARLIEST, item.time), LATEST))
    return item
