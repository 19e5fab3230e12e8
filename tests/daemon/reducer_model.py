"""What the reducer should say, told in the most obvious way: dicts, one value at a time, sums by fsum."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from asynclog_proto.records import End, Hold, Pass
from asynclogd.metrics import Metrics, Spec
from asynclogd.reducer import ReducerSettings
from asynclogd.rows import Rows
from asynclogd.window import REVISION_GAP
from tests.daemon.told import Told, Value, reduce


@dataclass
class Step:
    """One step of a group of metrics."""

    opened: float
    cells: dict[str, list[Value]] = field(default_factory=dict)
    done: set[str] = field(default_factory=set)
    closed: bool = False
    time: float = -math.inf
    row: int = -1
    """the row that came last"""
    before: float = -math.inf
    """the time before that"""


@dataclass
class Group:
    """Metrics that came first in one row with one spec."""

    names: tuple[str, ...]
    spec: Spec
    steps: dict[int, Step] = field(default_factory=dict)
    kept: list[int] = field(default_factory=list)
    horizon: float = -math.inf


@dataclass
class Rank:
    joined: float
    mark: int | None = None
    fed: bool = False
    suspended: bool = False
    status: str = ""
    passed: float = -math.inf
    held: float = math.inf
    flushes: dict[int, int] = field(default_factory=dict)
    """the step of its first, second, ... flush, counted from those that all had said when it joined"""
    count: int = 0

    def past(self, number: int, passed: float) -> bool:
        """Whether it has nothing more for a step, as far as it says."""
        logged = self.mark is not None and self.mark > number
        return (logged or max(self.passed, passed) >= number) and number < self.held


class Model:
    """The reducer's interface, but for snapshots, caps and defines that come late."""

    def __init__(self, settings: ReducerSettings, metrics: Metrics) -> None:
        self.settings = settings
        self.metrics = metrics
        self.series: dict[str, list[Told]] = {}
        self.facts: list[tuple[Any, ...]] = []
        self.journaled = self.rows = 0
        self.late = self.superseded = 0
        self.firsts: dict[int, float] = {}
        """the lowest step of each generation"""
        self.launches: dict[str, tuple[int, int]] = {}
        self.highest = -math.inf
        self.generation = -1
        self.launch = ""
        self._reset("", 0, 0.0)

    def _reset(self, launch: str, world: int, now: float) -> None:
        self.launch, self.world, self.first_join = launch, world, now
        self.joining, self.first_feed = True, math.inf
        self.ranks: dict[int, Rank] = {}
        self.groups: list[Group] = []
        self.of_name: dict[str, Group] = {}
        self.first, self.top, self.begun, self.ended = math.inf, -math.inf, False, False
        self.flushes, self.passed = 0, -math.inf

    # -- what happens ---------------------------------------------------------------------------------------------

    def join(self, rank: int, world: int, launch: str, now: float) -> None:
        if launch in self.launches:
            return
        if launch != self.launch:
            self._close_all()
            if self.launch:
                self.launches[self.launch] = (self.generation, self.world)
            self.highest = max(self.highest, self.top)
            self.firsts[self.generation] = self.first
            self.generation += 1
            self._reset(launch, world, now)
        known = self.ranks.setdefault(rank, Rank(now))
        known.joined, known.fed, known.suspended, known.status = now, False, False, ""
        known.held, known.count = math.inf, self.flushes
        known.flushes = {n: step for n, step in known.flushes.items() if n <= self.flushes}
        self.joining = self.joining and len(self.ranks) < self.world
        self.ended = False
        self._settle()

    def feed(self, rank: int, launch: str, decoded: Iterable[Any], now: float) -> None:
        decoded = list(decoded)
        if launch != self.launch:
            self._feed_old(rank, launch, decoded)
            return
        for rows in decoded:
            if isinstance(rows, Rows):
                self.first = min(self.first, *rows.steps.tolist())
                self.top = max(self.top, *rows.steps.tolist())
        for said in decoded:
            if isinstance(said, Rows):
                self._rows(said, rank, now)
            elif isinstance(said, End):
                self.ranks[rank].status = self.ranks[rank].status or said.status
            elif isinstance(said, Pass):
                one = self.ranks[rank]
                one.passed, one.count = max(one.passed, said.step), one.count + 1
                one.flushes[one.count] = said.step
            elif isinstance(said, Hold):
                self.ranks[rank].held = math.inf if said.step is None else said.step
        self._settle()

    def leave(self, rank: int, launch: str, now: float) -> None:  # noqa: ARG002 - the interface
        if launch == self.launch and rank in self.ranks:
            self.ranks[rank].status = self.ranks[rank].status or "killed"
            self._settle()

    def advance(self, now: float) -> None:
        if now >= self.first_join + self.settings.join_deadline:
            self.joining = False
        for rank in self.ranks.values():
            patience = max(rank.joined, self.first_feed) + self.settings.join_deadline
            if not rank.fed and not rank.status and now >= patience:
                rank.suspended = True
        overdue = [
            (group, number)
            for group in self.groups
            for number, step in sorted(group.steps.items())
            if not step.closed and step.opened + self.settings.step_deadline <= now
        ]
        for group, number in overdue:
            self._close(group, number)
        behind = max((number for _, number in overdue), default=None)
        for rank in self._waited():
            if behind is not None and (rank.mark is None or rank.mark < behind):
                rank.suspended = True
            if behind is not None and rank.held <= behind:
                rank.held = math.inf
        self._settle()

    def told(self) -> dict[str, list[Told]]:
        """What was told since the last call."""
        series, self.series = self.series, {}
        return series

    # -- values ---------------------------------------------------------------------------------------------------

    def _feed_old(self, rank: int, launch: str, decoded: list[Any]) -> None:
        generation, world = self.launches[launch]
        for rows in decoded:
            if not isinstance(rows, Rows):
                continue
            until = min([self.first, *(first for newer, first in self.firsts.items() if newer > generation)])
            for name, number, one, _ in _values(rows, rank):
                if number >= until:
                    self.superseded += 1
                    continue
                self.journaled += 1
                self.late += 1
                self.highest = max(self.highest, number)
                self.firsts[generation] = min(self.firsts[generation], number)
                spec = self.metrics.spec(name)
                if spec.reductions:
                    self._alone(name, number, one, spec, generation, world, revision=True)
                else:
                    self._tell(
                        f"{name}/rank{rank}", (number, one.value, one.time, 1, 1, world, generation, False, None)
                    )

    def _rows(self, rows: Rows, rank: int, now: float) -> None:
        self.journaled += rows.values.size
        fresh: dict[Spec, list[str]] = {}
        for name in rows.names:
            if name not in self.of_name and self.world > 1:
                fresh.setdefault(self.metrics.spec(name), []).append(name)
        for spec, names in fresh.items():
            group = Group(tuple(names), spec)
            self.groups.append(group)
            self.of_name.update(dict.fromkeys(names, group))
        for name, number, one, row in _values(rows, rank):
            spec = self.metrics.spec(name)
            if spec.per_rank:
                logged = 0 if spec.reductions else 1
                told = (number, one.value, one.time, 1, logged, self.world, self.generation, False, None)
                self._tell(f"{name}/rank{rank}", told)
            if spec.reductions and self.world == 1:
                self._alone(name, number, one, spec, self.generation, 1, revision=False)
            elif spec.reductions:
                self._enter(self.of_name[name], name, number, one, now, self.rows + row)
        self.rows += len(rows.steps)
        self._moved(rank, max(rows.steps.tolist()), now)

    def _enter(self, group: Group, name: str, number: int, one: Value, now: float, row: int) -> None:
        step = group.steps.get(number)
        if step is None:
            if number <= group.horizon:
                self.late += 1
                self._alone(name, number, one, group.spec, self.generation, self.world, revision=True)
                return
            step = group.steps[number] = Step(now)
        known = bool(step.cells.get(name))
        step.cells.setdefault(name, []).append(one)
        if step.row != row:
            step.row, step.before = row, step.time
        step.time = max(step.time, one.time)
        if step.closed or name in step.done:
            step.time = max(step.time, step.before + REVISION_GAP)
            self.late += 1
            self._reduced(group, number, name, 1, revision=known)

    def _moved(self, number: int, top: int, now: float) -> None:
        rank = self.ranks[number]
        self.first_feed = min(self.first_feed, now)
        rank.fed = True
        rank.mark = top if rank.mark is None else max(rank.mark, top)
        if rank.suspended:
            opened = [group.steps[top].opened for group in self.groups if top in group.steps]
            near = bool(opened) and now - min(opened) < self.settings.step_deadline / 2
            marks = [other.mark for other in self._waited() if other.mark is not None]
            rank.suspended = not (near or not marks or rank.mark >= min(marks))

    # -- closing --------------------------------------------------------------------------------------------------

    def _waited(self) -> list[Rank]:
        return [rank for rank in self.ranks.values() if not rank.status and not rank.suspended]

    def _settled(self, number: int, values: list[Value]) -> bool:
        """The rule itself: each rank that is waited for has contributed or is past the step, and no device holds
        values of steps before.
        """
        gave = {value.rank for value in values}
        return not self.joining and all(
            (rank in gave and number <= state.held) or state.past(number, self.passed)
            for rank, state in self.ranks.items()
            if not state.status and not state.suspended
        )

    def _match(self) -> None:
        """The flushes that every rank has said: all have passed the highest step of each."""
        waited = self._waited()
        while waited and not self.joining and all(rank.count > self.flushes for rank in waited):
            self.flushes += 1
            steps = [rank.flushes[self.flushes] for rank in self.ranks.values() if self.flushes in rank.flushes]
            self.passed = max(self.passed, *steps)

    def _settle(self) -> None:
        self._match()
        for group in self.groups:
            for number, step in sorted(group.steps.items()):
                if step.closed:
                    continue
                passed = self._settled(number, [])
                for name in group.names:
                    values = step.cells.get(name, [])
                    if values and name not in step.done and self._settled(number, values):
                        step.done.add(name)
                        self._reduced(group, number, name, len(values), revision=False)
                if passed or len(step.done) == len(group.names):
                    self._keep(group, number)
            self._forget(group)
        if not self.joining and self.ranks and all(rank.status for rank in self.ranks.values()) and not self.ended:
            self.ended = True
            order = ["success", "interrupted", "killed", "failed"]
            self.facts.append(("end", max((r.status for r in self.ranks.values()), key=order.index)))

    def _close_all(self) -> None:
        for group in self.groups:
            for number in sorted(number for number, step in group.steps.items() if not step.closed):
                self._close(group, number)

    def _close(self, group: Group, number: int) -> None:
        step = group.steps[number]
        for name, values in step.cells.items():
            if name not in step.done:
                self._reduced(group, number, name, len(values), revision=False)
        self._keep(group, number)
        self._forget(group)

    def _keep(self, group: Group, number: int) -> None:
        group.steps[number].closed = True
        group.kept.append(number)

    def _forget(self, group: Group) -> None:
        while len(group.kept) > self.settings.history_steps:
            gone = group.kept.pop(0)
            del group.steps[gone]
            group.horizon = max(group.horizon, gone)

    # -- telling --------------------------------------------------------------------------------------------------

    def _reduced(self, group: Group, number: int, name: str, logged: int, *, revision: bool) -> None:
        step = group.steps[number]
        values = step.cells[name]
        ranks = len({value.rank for value in values})
        for index, reduction in enumerate(group.spec.reductions):
            value, holder = reduce(reduction, values)
            self._tell(
                name if index == 0 else f"{name}/{reduction}",
                (
                    number,
                    value,
                    step.time,
                    ranks,
                    0 if index else logged,
                    self.world,
                    self.generation,
                    revision,
                    holder,
                ),
            )

    def _alone(
        self, name: str, number: int, one: Value, spec: Spec, generation: int, world: int, *, revision: bool
    ) -> None:
        for index, reduction in enumerate(spec.reductions):
            value = one.value - one.value if reduction == "std" else one.value
            holder = one.rank if reduction in {"min", "max"} else None
            self._tell(
                name if index == 0 else f"{name}/{reduction}",
                (number, value, one.time, 1, 0 if index else 1, world, generation, revision, holder),
            )

    def _tell(self, series: str, told: Told) -> None:
        if not self.begun and told[6] == self.generation:
            self.begun = True
            if self.first <= self.highest:
                self.facts.append(("rewind", self.first, self.generation))
        self.series.setdefault(series, []).append(told)


def _values(rows: Rows, rank: int) -> Iterable[tuple[str, int, Value, int]]:
    """(name, step, value, number of its row)"""
    columns = (rows.steps.tolist(), rows.times.tolist(), rows.weights.tolist(), rows.values.tolist())
    for row, (step, time, weight, values) in enumerate(zip(*columns, strict=True)):
        for name, value in zip(rows.names, values, strict=True):
            yield name, step, Value(rank, value, weight, time), row
