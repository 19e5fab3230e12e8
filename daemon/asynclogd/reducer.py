"""Folds the rows of a run's ranks into points, and says in what order they came to be.

Pure: no file, no clock; time comes in as `now`. The same calls give the same items, bit for bit, also when
the reducer is written to a snapshot and restored between them. At any time

    journaled == logged_total of all Points drained so far + open_values()
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asynclogd import caps, snapshots, superseded
from asynclogd.caps import ReducerSettings
from asynclogd.generation import Generation
from asynclogd.metrics import Metrics
from asynclogd.points import Item
from asynclogd.snapshots import State
from asynclogd.standing import Standing
from asynclogd.superseded import Outlived
from asynclogd.tabulate import World
from asynclogd.tally import Climb, Tally
from asynclogd.window import Window

__all__ = ["Reducer", "ReducerSettings"]


class Reducer:
    """The ranks of one run, generation after generation."""

    def __init__(self, settings: ReducerSettings | None = None) -> None:
        self.settings = settings or ReducerSettings()
        self._tally = Tally()
        self._outlived = Outlived(-1, Metrics())
        self._current: Generation | None = None

    @property
    def launch(self) -> str | None:
        """The launch of the current generation."""
        return None if self._current is None else self._current.progress.launch

    def generation(self, launch: str) -> int:
        """The generation of a launch that has joined."""
        if (current := self._of(launch)) is not None:
            return current.progress.generation
        return self._tally.launches.get(launch, (0, 0))[0]

    @property
    def climb(self) -> Climb:
        """How high the run has come."""
        return Climb(self.launch, self._tally.highest, self._tally.summit)

    @property
    def tally(self) -> Tally:
        """Counts and marks of all generations; to be read only."""
        return self._tally

    @property
    def journaled(self) -> int:
        """Logged values fed so far, but for those that are superseded."""
        return self._tally.journaled

    @property
    def late(self) -> int:
        """Logged values that came after their step had closed."""
        return self._tally.late + (self._current.window.late if self._current else 0)

    @property
    def superseded(self) -> int:
        """Logged values that are not told, for a newer launch had begun to log their steps."""
        return self._tally.superseded

    @property
    def closed_early(self) -> int:
        """Steps that a cap closed before their ranks had given all."""
        return self._tally.closed_early + (self._current.window.closed_early if self._current else 0)

    # -- what happens -------------------------------------------------------------------------------------------

    def join(self, rank: int, world_size: int, launch: str, now: float) -> None:
        """A stream joined: a rank, a new incarnation of one, or the first of a new launch. What that completes is
        closed by `drain`.
        """
        if launch in self._tally.launches:
            return  # its ranks are gone; what they still send is late
        current = self._of(launch) or self._next(world_size, launch, now)
        current.join(rank, world_size, now)

    def join_past(self, rank: int, world_size: int, launch: str, now: float) -> None:
        """A stream joined of a process that was there before the rank's latest one came."""
        current = self._of(launch)
        if current is None or rank not in current.progress.ranks:
            self.join(rank, world_size, launch, now)
            self.leave(rank, launch, now)

    def feed(self, rank: int, launch: str, decoded: Iterable[Any], now: float) -> None:
        """What a decoder gave for a rank, in order. What that completes is closed by `drain`, as what joins and deaths
        do: looking at all ranks after each one of them is their number squared.
        """
        current = self._current
        if current is None or (current.progress.launch != launch and launch not in self._tally.launches):
            raise ValueError(f"launch {launch!r} has not joined")
        if current.progress.launch != launch:
            metrics = self._outlived.of(self.generation(launch), current.metrics)
            current.items += superseded.feed(self._tally, metrics, rank, launch, decoded)
            return
        if rank not in current.progress.ranks:
            current.join(rank, rank + 1, now)
        current.feed(rank, decoded, now)
        if caps.exceeded(current.window):
            current.settle()

    def leave(self, rank: int, launch: str, now: float) -> None:  # noqa: ARG002 - part of the interface
        """The rank's process died, or went after its END."""
        if (current := self._of(launch)) is not None:
            current.leave(rank)

    def end_again(self, launch: str) -> None:
        """What a process left whose rank's latest one has ended, or goes on, is all in: the run's end is told again."""
        if (current := self._of(launch)) is not None:
            current.end_again()

    def advance(self, now: float) -> None:
        """Close what deadlines close by `now`."""
        if self._current is not None:
            self._current.advance(now)

    def next_deadline(self) -> float | None:
        """When `advance` would do something; None when it would not, however late."""
        return None if self._current is None else self._current.next_deadline()

    def drain(self) -> list[Item]:
        """The items that came to be since the last call, in order."""
        if self._current is None:
            return []
        self._current.settle_rest()
        items, self._current.items = self._current.items, []
        return items

    def open_values(self, rank: int | None = None, up_to: int | None = None) -> int:
        """Logged values that are in no point yet; with `rank`, that rank's, with `up_to` those up to this step.

        Where a rank gave several values for a metric at a step, and that has closed while the step's other
        metrics have not, the rank's count has them still, but for one.
        """
        return 0 if self._current is None else self._current.open_values(rank, up_to)

    def standing(self, rank: int, name: str, step: int | None) -> Standing:
        """How a name stands at a step, None for the last one at which the rank logged it; ranks must have joined."""
        assert self._current is not None
        return self._current.standing(rank, name, step)

    # -- generations --------------------------------------------------------------------------------------------

    def _of(self, launch: str) -> Generation | None:
        """The current generation, if it is this launch's."""
        return self._current if self.launch == launch else None

    def _next(self, world: int, launch: str, now: float) -> Generation:
        before, number = self._current, 0
        if before is not None:
            before.close()
            progress, number = before.progress, before.progress.generation + 1
            self._tally.late, self._tally.closed_early = self.late, self.closed_early
            self._tally.supersede(progress.launch, progress.generation, progress.world)
            self._outlived = Outlived(progress.generation, before.metrics)
        self._current = Generation.begin(self.settings, self._tally, launch, world, number, now)
        if before is not None:
            self._current.items = before.items
        return self._current

    # -- snapshots ----------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """All state, for `restore`. Items that were not drained are not in it: drain first."""
        current = self._current
        if current is None:
            return snapshots.pack(State(self._tally, Metrics(), self._outlived, None, Window(self.settings, World(0))))
        return snapshots.pack(State(self._tally, current.metrics, self._outlived, current.progress, current.window))

    @classmethod
    def restore(cls, settings: ReducerSettings, blob: bytes) -> Reducer:
        """The reducer that `snapshot` was called on. Raises ValueError when `blob` is none of this version's."""
        reducer = cls(settings)
        state = snapshots.unpack(blob, settings)
        reducer._tally, reducer._outlived = state.tally, state.outlived
        if state.progress is not None:
            reducer._current = Generation(settings, state.tally, state.progress, state.metrics, state.window)
        return reducer
