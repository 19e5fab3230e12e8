"""Which table each metric lives in."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from asynclogd.lanes import RUN, Lane
from asynclogd.metrics import Metrics, Spec, span
from asynclogd.seen import Seen
from asynclogd.tables import Table

_CACHED_NAMES = 1 << 20
_CACHED_PLANS = 4096


Metric = tuple[Lane, str]


@dataclass(frozen=True, slots=True)
class Share:
    """The part of a row that one table takes: `source` columns of the row go to `columns` of the table."""

    table: Table
    columns: Any
    source: Any


class Columns:
    """The tables of one generation. Metrics that came first in one row share a table, when they share a spec; in
    another lane they have another.
    """

    def __init__(self, world: int) -> None:
        self.world = world
        self.tables: dict[int, Table] = {}
        """by number, oldest first"""
        self.width = 0
        """metrics in all tables that may open steps"""
        self.nbytes = 0
        """what all tables hold"""
        self.ticks = 0
        self._live = 0
        self._next = 0
        self._where: dict[Metric, tuple[Table, int]] = {}
        self._lanes = {RUN}
        self.former: dict[Metric, tuple[Table, int]] = {}
        """metrics that have no table now, and where they were before a define changed them"""
        self._plans: dict[tuple[Lane, tuple[str, ...]], list[Share]] = {}
        self._cached_names = 0
        self._seen: Seen[tuple[Lane, list[Share]]] = Seen()

    def tick(self) -> int:
        """A number that grows: the order in which tables were used."""
        self.ticks += 1
        return self.ticks

    def shares(self, names: tuple[str, ...], spec: Spec, lane: Lane) -> list[Share]:
        """Where the values of these names (all of `spec`) in rows of `lane` go; makes tables for what is new."""
        seen = self._seen.get(names)
        if seen is not None and seen[0] == lane:
            return seen[1]
        plan = self._plans.get((lane, names))
        if plan is None:
            if self._cached_names + len(names) > _CACHED_NAMES or len(self._plans) >= _CACHED_PLANS:
                self._forget_plans()
            self._cached_names += len(names)
            self._add_tables(names, spec, lane)
            plan = self._plans[lane, names] = self._plan(names, lane)
        self._seen.put(names, (lane, plan))
        return plan

    def _add_tables(self, names: tuple[str, ...], spec: Spec, lane: Lane) -> None:
        by_elder: dict[int, list[str]] = {}
        for name in names:
            if (lane, name) not in self._where:
                former = self.former.get((lane, name))
                by_elder.setdefault(-1 if former is None else former[0].number, []).append(name)
        for elder, fresh in by_elder.items():
            table = Table(self._next, tuple(fresh), spec, self.world, lane)
            if elder >= 0:
                table.elder = self.tables.get(elder)
                table.elder_columns = np.array([self.former.pop((lane, name))[1] for name in fresh])
            self.put(table)

    def put(self, table: Table, *, retired: bool = False) -> None:
        """Take a table in; its metrics live there from now on, unless it is retired."""
        self.tables[table.number] = table
        self._next = max(self._next, table.number + 1)
        self.nbytes += table.nbytes
        if retired:
            return
        self._live += 1
        self.width += len(table.names)
        self._lanes.add(table.lane)
        for column, name in enumerate(table.names):
            self._where[table.lane, name] = (table, column)

    def _plan(self, names: tuple[str, ...], lane: Lane) -> list[Share]:
        places: dict[int, tuple[list[int], list[int]]] = {}
        for source, name in enumerate(names):
            table, column = self._where[lane, name]
            columns, sources = places.setdefault(table.number, ([], []))
            columns.append(column)
            sources.append(source)
        if len(places) == 1:
            return [Share(self.tables[n], span(columns), slice(None)) for n, (columns, _) in places.items()]
        return [Share(self.tables[n], span(columns), span(sources)) for n, (columns, sources) in places.items()]

    def redefined(self, metrics: Metrics) -> None:
        """Retire each table whose metrics are to be reduced otherwise: it keeps its open steps, and opens none."""
        self._forget_plans()
        for table in list(self.tables.values()):
            if self.retired(table) or all(metrics.spec(name) == table.spec for name in table.names):
                continue
            for column, name in enumerate(table.names):
                del self._where[table.lane, name]
                self.former[table.lane, name] = (table, column)
            self._unlist(table)

    def retired(self, table: Table) -> bool:
        """Whether the table opens no steps any more."""
        return self._where.get((table.lane, table.names[0]), (None, 0))[0] is not table

    def places(self, name: str) -> Iterator[tuple[Table, int]]:
        """The tables that hold steps of a metric and its column there, of each lane the newest first."""
        for lane in self._lanes:
            found = self._where.get((lane, name)) or self.former.get((lane, name))
            while found is not None:
                yield found
                table, column = found
                found = None
                if table.elder is not None and table.elder_columns is not None:
                    found = table.elder, int(table.elder_columns[column])

    @property
    def retiring(self) -> bool:
        """Whether some tables are retired."""
        return len(self.tables) > self._live

    def drop(self, gone: Callable[[Table], bool]) -> None:
        """Forget tables without an open step: their metrics begin anew."""
        dropped = [table for table in self.tables.values() if gone(table)]
        for table in dropped:
            del self.tables[table.number]
            self.nbytes -= table.nbytes
            if self.retired(table):
                continue
            for name in table.names:
                del self._where[table.lane, name]
            self._unlist(table)
        if dropped:
            numbers = {table.number for table in dropped}
            self.former = {n: place for n, place in self.former.items() if place[0].number not in numbers}
            self._cut_elders(dropped)
            self._forget_plans()

    def _unlist(self, table: Table) -> None:
        self._live -= 1
        self.width -= len(table.names)

    def _cut_elders(self, dropped: list[Table]) -> None:
        for table in self.tables.values():
            if table.elder is not None and table.elder in dropped:
                table.slots.horizon = _later(table.slots.horizon, table.elder.slots.highest_closed())
                table.elder = table.elder_columns = None

    def widen(self, world: int) -> None:
        """The world has grown."""
        self.world = world
        for table in self.tables.values():
            table.widen(world)
        self.nbytes = sum(table.nbytes for table in self.tables.values())

    def _forget_plans(self) -> None:
        self._plans.clear()
        self._cached_names = 0
        self._seen.clear()


def _later(one: int | None, other: int | None) -> int | None:
    return max((step for step in (one, other) if step is not None), default=None)
