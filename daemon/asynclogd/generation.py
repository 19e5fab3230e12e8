"""One launch of a run: its ranks' rows are folded, and steps close as the ranks go on. Pure, as the reducer is.

Nothing closes by itself: `settle` looks at all ranks, once for all that has come.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from asynclog_proto import records
from asynclogd import lanes, standing
from asynclogd.caps import ReducerSettings
from asynclogd.lanes import Origin
from asynclogd.launches import is_rejoined
from asynclogd.metrics import Metrics
from asynclogd.points import Item, Params, Points, Rewind, RunEnd, Summary
from asynclogd.progress import Progress
from asynclogd.rows import Rows
from asynclogd.standing import Standing
from asynclogd.tabulate import World, abreast, of_rank, plain
from asynclogd.tally import Tally
from asynclogd.window import Window


class Generation:
    """`tally` is the run's; what comes out goes to `items`, in order."""

    def __init__(
        self, settings: ReducerSettings, tally: Tally, progress: Progress, metrics: Metrics, window: Window
    ) -> None:
        self.progress, self.metrics, self.window = progress, metrics, window
        self.items: list[Item] = []
        self.unsettled = False
        """something has come since steps were closed last"""
        self._settings, self._tally = settings, tally

    @classmethod
    def begin(
        cls, settings: ReducerSettings, tally: Tally, launch: str, world: int, number: int, now: float
    ) -> Generation:
        """The launch's first rank has come."""
        progress = Progress(launch, world, number, settings.join_deadline, now)
        return cls(settings, tally, progress, Metrics(), Window(settings, World(world, number)))

    # -- what happens -------------------------------------------------------------------------------------------

    def join(self, rank: int, world_size: int, now: float) -> None:
        """A rank's process has come: its first, or another one that goes on."""
        progress = self.progress
        if progress.over() is not None:
            self.settle_rest()  # what has come may be the launch's end, which is told
        if is_rejoined(progress.launch) and progress.over() is not None:
            progress.begin_again(now)
        else:
            progress.match()  # or flushes that were complete would wait for this one's
        if max(world_size, rank + 1) > progress.expected:
            progress.grow(max(world_size, rank + 1), now)
            if progress.world > self.window.world.size:
                self.window.widen(progress.world)
        progress.join(rank, now)
        self._tally.ended = False
        self.unsettled = True

    def feed(self, rank: int, decoded: Iterable[Any], now: float) -> None:
        """What a decoder gave for a rank that has joined, in order."""
        for part in _parts(decoded):
            tables = [said for said in part if isinstance(said, Rows)]
            self._tally.note_steps(rows for rows in tables if not self.metrics.ways(rows.names).lane.own_steps)
            for said in part:
                self._take(rank, said, now)
        self.unsettled = True

    def _take(self, rank: int, said: Any, now: float) -> None:
        progress = self.progress
        if isinstance(said, Rows):
            self._rows(said, rank, now)
        elif isinstance(said, records.End):
            progress.end(rank, said.status)
        elif isinstance(said, records.Pass):
            progress.flush(rank, said.step)
        elif isinstance(said, records.Hold):
            progress.hold(rank, said.step)
        elif isinstance(said, records.Rewind):
            self.items.append(Rewind(said.step, progress.generation))
        else:
            self._facts(said)

    def leave(self, rank: int) -> None:
        """The rank's process died, or went after its END."""
        self.progress.end(rank, "killed")
        self.unsettled = True

    def end_again(self) -> None:
        """The launch's end, where it was told, is told again."""
        if self._tally.ended:
            self._tally.ended = False
            self.unsettled = True

    def advance(self, now: float) -> None:
        """Close what deadlines close by `now`."""
        self.settle_rest()
        self.progress.expire(now)
        for own, expired in self.window.close_overdue(now, self._settings.step_deadline).items():
            self.progress.suspend_behind(expired, own=own)
        self.settle()

    def next_deadline(self) -> float | None:
        """When `advance` would do something."""
        due = self.progress.next_deadline()
        step = self.window.oldest() + self._settings.step_deadline
        if step == float("inf"):
            return due
        return step if due is None else min(due, step)

    def close(self) -> None:
        """Another launch supersedes this one: every step closes with what it has."""
        self.settle_rest()  # it may be the launch's end
        self.window.settle(None, [])
        self._collect()

    # -- how it stands ------------------------------------------------------------------------------------------

    def open_values(self, rank: int | None = None, up_to: int | None = None) -> int:
        """Logged values that are in no point yet, as `Reducer.open_values`."""
        if rank is None:
            return self.window.open
        if rank not in self.progress.ranks:
            return 0
        return sum(table.open_values(rank, up_to) for table in self.window.columns.tables.values())

    def standing(self, rank: int, name: str, step: int | None) -> Standing:
        """How a name stands at a step, None for the last one at which the rank logged it; ranks must have joined."""
        return standing.of(self.progress, self.window, self._tally.top, rank, name, step)

    # -- one rank's records -------------------------------------------------------------------------------------

    def _rows(self, rows: Rows, rank: int, now: float) -> None:
        self._tally.journaled += rows.values.size
        progress, window, metrics = self.progress, self.window, self.metrics
        ways = metrics.ways(rows.names)
        state, lane, top = progress.ranks[rank], ways.lane, int(rows.steps.max())
        if lane.own_steps:
            self.settle_rest()  # or two evaluations, which have the same steps, would be one
        origin = Origin(rank, now, state.mark(progress.passed), state.flushes)
        for group in ways.groups:
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
            progress.reconsider(rank, near=lag < self._settings.step_deadline / 2)

    def _facts(self, said: Any) -> None:
        if isinstance(said, records.Define):
            if self.metrics.define(said):
                self.window.columns.redefined(self.metrics)
        elif isinstance(said, records.Params):
            if new := self._tally.take(self._tally.params, said.values):
                self.items.append(Params(new))
        elif isinstance(said, records.Summary) and (new := self._tally.take(self._tally.summary, said.values)):
            self.items.append(Summary(new))

    # -- closing ------------------------------------------------------------------------------------------------

    def settle_rest(self) -> None:
        """Close what is complete, when something has come since that was done last."""
        if self.unsettled:
            self.settle()

    def settle(self) -> None:
        """Close what is complete."""
        self.unsettled = False
        progress = self.progress
        progress.match()
        may_close, low = progress.low()
        if may_close:
            self.window.settle(low, [] if low is None else progress.at(low))
        if not progress.joining:
            lanes.settle(self.window, progress.waited_for(), low, progress.flushes)
        self.window.bound()
        self._collect()
        status = progress.over()
        if status is not None and not self._tally.ended:
            self._tally.ended = True
            self.items.append(RunEnd(status))

    def _collect(self) -> None:
        self._put(self.window.out)
        self.window.out = []

    def _put(self, points: Iterable[Points]) -> None:
        for each in abreast(points):
            rewound = self._tally.begin()
            if rewound is not None:
                self.items.append(Rewind(rewound, each.generation))
            self.items.append(each)


def _parts(decoded: Iterable[Any]) -> Iterator[list[Any]]:
    """What was said, cut behind each define of steps: it holds for the rows after it."""
    part: list[Any] = []
    for said in decoded:
        part.append(said)
        if isinstance(said, records.Define) and said.own_steps:
            yield part
            part = []
    yield part
