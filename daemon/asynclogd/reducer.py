"""Folds the rows of a run's ranks into points, and says in what order they came to be.

Pure: no file, no clock; time comes in as `now`. The same calls give the same items, bit for bit, also when
the reducer is written to a snapshot and restored between them. At any time

    journaled == logged_total of all Points drained so far + open_values()
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from asynclog_proto import records
from asynclog_proto.messages import REJOINED
from asynclogd import caps, lanes, snapshots, standing, superseded
from asynclogd.caps import ReducerSettings
from asynclogd.lanes import Origin
from asynclogd.metrics import Metrics
from asynclogd.points import Item, Params, Points, Rewind, RunEnd, Summary
from asynclogd.progress import Progress
from asynclogd.rows import Rows
from asynclogd.snapshots import State
from asynclogd.standing import Standing
from asynclogd.superseded import Outlived
from asynclogd.tabulate import World, abreast, of_rank, plain
from asynclogd.tally import Climb, Tally
from asynclogd.window import Window

__all__ = ["Reducer", "ReducerSettings"]


class Reducer:
    """The ranks of one run, generation after generation."""

    def __init__(self, settings: ReducerSettings | None = None) -> None:
        self.settings = settings or ReducerSettings()
        self._items: list[Item] = []
        self._tally = Tally()
        self._metrics = Metrics()
        self._outlived = Outlived(-1, self._metrics)
        self._progress: Progress | None = None
        self._window = Window(self.settings, World(0))
        self._unsettled = False
        """something has come since steps were closed last"""

    @property
    def launch(self) -> str | None:
        """The launch of the current generation."""
        return None if self._progress is None else self._progress.launch

    def generation(self, launch: str) -> int:
        """The generation of a launch that has joined."""
        if self._progress is not None and self._progress.launch == launch:
            return self._progress.generation
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
        return self._tally.late + self._window.late

    @property
    def superseded(self) -> int:
        """Logged values that are not told, for a newer launch had begun to log their steps."""
        return self._tally.superseded

    @property
    def closed_early(self) -> int:
        """Steps that a cap closed before their ranks had given all."""
        return self._tally.closed_early + self._window.closed_early

    # -- what happens -------------------------------------------------------------------------------------------

    def join(self, rank: int, world_size: int, launch: str, now: float) -> None:
        """A stream joined: a rank, a new incarnation of one, or the first of a new launch. What that completes is
        closed by `drain`.
        """
        if launch in self._tally.launches:
            return  # its ranks are gone; what they still send is late
        progress = self._progress
        if progress is None or progress.launch != launch or progress.over() is not None:
            self._settle_rest()  # what has come may be the end of a launch, which is told
        if progress is None or progress.launch != launch:
            progress = self._generation(world_size, launch, now)
        elif launch.endswith(REJOINED) and progress.over() is not None:
            progress.begin_again(now)
        else:
            progress.match()  # or flushes that were complete would wait for this one's
        if max(world_size, rank + 1) > progress.world:
            progress.grow(max(world_size, rank + 1))
            self._window.widen(progress.world)
        progress.join(rank, now)
        self._tally.ended = False
        self._unsettled = True

    def join_past(self, rank: int, world_size: int, launch: str, now: float) -> None:
        """A stream joined of a process that is dead, and was before the rank's latest one came."""
        progress = self._progress
        if progress is None or progress.launch != launch or rank not in progress.ranks:
            self.join(rank, world_size, launch, now)
            self.leave(rank, launch, now)

    def feed(self, rank: int, launch: str, decoded: Iterable[Any], now: float) -> None:
        """What a decoder gave for a rank, in order. What that completes is closed by `drain`, as what joins and deaths
        do: looking at all ranks after each one of them is their number squared.
        """
        progress = self._progress
        if progress is None or (progress.launch != launch and launch not in self._tally.launches):
            raise ValueError(f"launch {launch!r} has not joined")
        if progress.launch != launch:
            metrics = self._outlived.of(self.generation(launch), self._metrics)
            self._items += superseded.feed(self._tally, metrics, rank, launch, decoded)
            return
        if rank not in progress.ranks:
            self.join(rank, rank + 1, launch, now)
        for part in _parts(decoded):
            self._feed(progress, rank, part, now)
        self._unsettled = True
        if caps.exceeded(self._window):
            self._settle()

    def _feed(self, progress: Progress, rank: int, decoded: list[Any], now: float) -> None:
        tables = [said for said in decoded if isinstance(said, Rows)]
        self._tally.note_steps(rows for rows in tables if not self._metrics.lane(rows.names).own_steps)
        for said in decoded:
            if isinstance(said, Rows):
                self._rows(progress, said, rank, now)
            elif isinstance(said, records.End):
                progress.end(rank, said.status)
            elif isinstance(said, records.Pass):
                progress.flush(rank, said.step)
            elif isinstance(said, records.Hold):
                progress.hold(rank, said.step)
            elif isinstance(said, records.Rewind):
                self._items.append(Rewind(said.step, progress.generation))
            else:
                self._facts(said)

    def leave(self, rank: int, launch: str, now: float) -> None:  # noqa: ARG002 - part of the interface
        """The rank's process died, or went after its END."""
        if self._progress is not None and self._progress.launch == launch:
            self._progress.end(rank, "killed")
            self._unsettled = True

    def end_again(self, launch: str) -> None:
        """What a process left whose rank's latest one has ended, or goes on, is all in: the run's end is told again."""
        if self._progress is not None and self._progress.launch == launch and self._tally.ended:
            self._tally.ended = False
            self._unsettled = True

    def advance(self, now: float) -> None:
        """Close what deadlines close by `now`."""
        progress = self._progress
        if progress is None:
            return
        self._settle_rest()
        progress.expire(now)
        for own, expired in self._window.close_overdue(now, self.settings.step_deadline).items():
            progress.suspend_behind(expired, own=own)
        self._settle()

    def next_deadline(self) -> float | None:
        """When `advance` would do something; None when it would not, however late."""
        due = None if self._progress is None else self._progress.next_deadline()
        step = self._window.oldest() + self.settings.step_deadline
        if step == float("inf"):
            return due
        return step if due is None else min(due, step)

    def drain(self) -> list[Item]:
        """The items that came to be since the last call, in order."""
        self._settle_rest()
        items, self._items = self._items, []
        return items

    def open_values(self, rank: int | None = None, up_to: int | None = None) -> int:
        """Logged values that are in no point yet; with `rank`, that rank's, with `up_to` those up to this step.

        Where a rank gave several values for a metric at a step, and that has closed while the step's other
        metrics have not, the rank's count has them still, but for one.
        """
        if rank is None:
            return self._window.open
        if self._progress is None or rank not in self._progress.ranks:
            return 0
        return sum(table.open_values(rank, up_to) for table in self._window.columns.tables.values())

    def standing(self, rank: int, name: str, step: int | None) -> Standing:
        """How a name stands at a step, None for the last one at which the rank logged it; ranks must have joined."""
        assert self._progress is not None
        return standing.of(self._progress, self._window, self._tally.top, rank, name, step)

    # -- generations --------------------------------------------------------------------------------------------

    def _generation(self, world: int, launch: str, now: float) -> Progress:
        before = self._progress
        number = 0
        if before is not None:
            number = before.generation + 1
            self._window.settle(None, [])
            self._collect()
            self._tally.late, self._tally.closed_early = self.late, self.closed_early
            self._tally.supersede(before.launch, before.generation, before.world)
            self._outlived, self._metrics = Outlived(before.generation, self._metrics), Metrics()
        self._window = Window(self.settings, World(world, number))
        self._progress = Progress(launch, world, number, self.settings.join_deadline, now)
        return self._progress

    def _put(self, points: Iterable[Points]) -> None:
        for each in abreast(points):
            rewound = self._tally.begin()
            if rewound is not None:
                self._items.append(Rewind(rewound, each.generation))
            self._items.append(each)

    # -- one rank's records -------------------------------------------------------------------------------------

    def _rows(self, progress: Progress, rows: Rows, rank: int, now: float) -> None:
        self._tally.journaled += rows.values.size
        window, metrics, state = self._window, self._metrics, progress.ranks[rank]
        lane, top = metrics.lane(rows.names), int(rows.steps.max())
        if lane.own_steps:
            self._settle_rest()  # or two evaluations, which have the same steps, would be one
        origin = Origin(rank, now, state.mark(progress.passed), state.flushes)
        for group in metrics.groups(rows.names):
            part, spec = group.of(rows), group.spec
            if spec.per_rank:
                window.out.append(of_rank(spec, metrics.rank_series(part.names, rank), part, window.world))
            if spec.reductions and progress.world == 1:
                window.out.extend(plain(spec, part, rank, window.world))
                window.latest.note(part.names, int(part.steps.max()))
            elif spec.reductions:
                window.feed(spec, lane, part, origin)
        self._collect()
        progress.fed(rank, top, now, own=lane.own_steps)
        if state.suspended:
            # Waiting for it again costs the lag that it has: worth it while that is well under the deadline.
            lag = now - window.opened_at(lane, top)
            progress.reconsider(rank, near=lag < self.settings.step_deadline / 2)

    def _facts(self, said: Any) -> None:
        if isinstance(said, records.Define):
            if self._metrics.define(said):
                self._window.columns.redefined(self._metrics)
        elif isinstance(said, records.Params):
            if new := self._tally.take(self._tally.params, said.values):
                self._items.append(Params(new))
        elif isinstance(said, records.Summary) and (new := self._tally.take(self._tally.summary, said.values)):
            self._items.append(Summary(new))

    # -- closing ------------------------------------------------------------------------------------------------

    def _settle_rest(self) -> None:
        if self._unsettled:
            self._settle()

    def _settle(self) -> None:
        self._unsettled = False
        progress = self._progress
        if progress is None:
            return
        progress.match()
        may_close, low = progress.low()
        if may_close:
            self._window.settle(low, [] if low is None else progress.at(low))
        if not progress.joining:
            lanes.settle(self._window, progress.waited_for(), low, progress.flushes)
        self._window.bound()
        self._collect()
        status = progress.over()
        if status is not None and not self._tally.ended:
            self._tally.ended = True
            self._items.append(RunEnd(status))

    def _collect(self) -> None:
        self._put(self._window.out)
        self._window.out = []

    # -- snapshots ----------------------------------------------------------------------------------------------

    def snapshot(self) -> bytes:
        """All state, for `restore`. Items that were not drained are not in it: drain first."""
        return snapshots.pack(State(self._tally, self._metrics, self._outlived, self._progress, self._window))

    @classmethod
    def restore(cls, settings: ReducerSettings, blob: bytes) -> Reducer:
        """The reducer that `snapshot` was called on. Raises ValueError when `blob` is none of this version's."""
        reducer = cls(settings)
        state = snapshots.unpack(blob, settings)
        reducer._tally, reducer._metrics, reducer._outlived = state.tally, state.metrics, state.outlived
        reducer._progress, reducer._window = state.progress, state.window
        return reducer


def _parts(decoded: Iterable[Any]) -> Iterator[list[Any]]:
    """What was said, cut behind each define of steps: it holds for the rows after it."""
    part: list[Any] = []
    for said in decoded:
        part.append(said)
        if isinstance(said, records.Define) and said.own_steps:
            yield part
            part = []
    yield part
