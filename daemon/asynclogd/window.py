"""The steps of a generation that are open, or closed lately: values enter, points come out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclogd import ranksets
from asynclogd.columns import Columns
from asynclogd.metrics import Spec
from asynclogd.partials import Entering
from asynclogd.points import Points
from asynclogd.rowtables import Rows
from asynclogd.slots import KEPT, OPEN
from asynclogd.tables import Table
from asynclogd.tabulate import World, cells_to_points, plain


@dataclass(frozen=True, slots=True)
class WindowLimits:
    """How many closed steps a metric keeps, how many may be open, and the bytes and names of it all."""

    history_steps: int
    max_open_steps: int
    max_bytes: int
    max_names: int


class Window:
    """Folds one generation's rows. Points go to `out`; `open` counts logged values that are in none yet."""

    def __init__(self, limits: WindowLimits, world: World) -> None:
        self.world = world
        self.columns = Columns(world.size)
        self.out: list[Points] = []
        self.open = 0
        self.late = 0
        """values that came after their step had closed"""
        self.closed_early = 0
        """steps of a table that a cap has closed"""
        self._limits = limits

    def widen(self, size: int) -> None:
        """The world has grown."""
        self.world = World(size, self.world.generation)
        self.columns.widen(size)

    # -- values enter -------------------------------------------------------------------------------------------

    def feed(self, spec: Spec, rows: Rows, rank: int, now: float) -> None:
        """Fold rows of metrics that have this spec, which reduces."""
        for share in self.columns.shares(rows.names, spec):
            part = rows
            if not (isinstance(share.source, slice) and share.source == slice(None)):
                part = _columns(rows, share.source)
            share.table.used_at = self.columns.tick()
            self._enter(share.table, share.columns, part, rank, now)

    def _enter(self, table: Table, columns: Any, rows: Rows, rank: int, now: float) -> None:
        if table.elder is not None and table.elder_columns is not None:
            theirs = table.elder.slots.lookup(rows.steps) >= 0
            if theirs.any():
                self._enter(table.elder, table.elder_columns[columns], _picked(rows, theirs), rank, now)
                rows = _picked(rows, ~theirs)
        for chosen in _distinct(rows.steps):
            self._enter_once(table, columns, rows if chosen is None else _picked(rows, chosen), rank, now)

    def _enter_once(self, table: Table, columns: Any, rows: Rows, rank: int, now: float) -> None:
        slots = table.slots.find(rows.steps)
        if slots is None:
            slots = self._slots(table, rows.steps, now)
        if not isinstance(slots, slice):
            gone, late = slots < 0, table.slots.state[slots] == KEPT
            if gone.any():
                self._gone(table, columns, _picked(rows, gone), rank)
            if (late := late & ~gone).any():
                self._late(table, columns, slots[late], _picked(rows, late), rank)
            if (live := ~(gone | late)).all():
                pass
            elif live.any():
                slots, rows = slots[live], _picked(rows, live)
            else:
                return
        self._add(table, columns, slots, rows, rank)
        self.open += rows.values.size
        if table.done:
            self._after_done(table, columns, slots, rank)

    def _slots(self, table: Table, steps: NDArray[np.int64], now: float) -> Any:
        """The steps' slots; opens those that are new. -1 for a step that was closed so long ago that it is gone."""
        slots = table.slots.lookup(steps)
        fresh = slots < 0
        if table.slots.horizon is not None:
            fresh &= steps > table.slots.horizon
        if not fresh.any():
            return slots
        self.columns.nbytes += int(np.count_nonzero(fresh)) * table.slot_bytes
        if fresh.all():
            return table.open_steps(steps, now)
        table.open_steps(steps[fresh], now)
        return table.slots.lookup(steps)

    def _add(self, table: Table, columns: Any, slots: Any, rows: Rows, rank: int) -> None:
        weights = None if (rows.weights == 1.0).all() else rows.weights[:, None]
        with np.errstate(all="ignore"):
            table.add(slots, columns, Entering(rank, rows.values, rows.times[:, None], weights))

    def _gone(self, table: Table, columns: Any, rows: Rows, rank: int) -> None:
        self.late += rows.values.size
        self.out.extend(plain(table.spec, rows, rank, self.world, revision=True))

    def _late(self, table: Table, columns: Any, slots: NDArray[np.int64], rows: Rows, rank: int) -> None:
        self.late += rows.values.size
        known = table.fields["logged"][slots][:, columns] > 0
        self._add(table, columns, slots, rows, rank)
        for mask, revision in ((known, True), (~known, False)):
            if mask.any():
                self.out.extend(cells_to_points(table, slots, columns, mask, self.world, revision=revision))

    def _after_done(self, table: Table, columns: Any, slots: Any, rank: int) -> None:
        """Values have entered cells of open steps that are closed already: they are late."""
        for slot in np.arange(table.slots.capacity)[slots].tolist():
            if slot not in table.done:
                continue
            mask = table.done[slot][columns][None, :]
            count = int(np.count_nonzero(mask))
            if count:
                self.open -= count
                self.late += count
                self.out.extend(
                    cells_to_points(table, np.array([slot]), columns, mask, self.world, revision=True)
                )

    # -- steps close --------------------------------------------------------------------------------------------

    def settle(self, low: int | None, ranks: list[int]) -> None:
        """Close every step under `low` (all for None), and at `low` what all of `ranks` have given."""
        for table in list(self.columns.tables.values()):
            slots = table.slots
            if not slots.open or (low is not None and slots.lowest > low):
                continue
            ready = slots.below(low)
            slot = None if low is None else slots.of_step.get(low)
            if slot is not None and slots.state[slot] == OPEN:
                if self._ready(table, slot, ranks).all():
                    ready = np.append(ready, slot)
                    slot = None
            else:
                slot = None
            self._close(table, ready)
            if slot is not None:
                self._close_cells(table, slot, ranks)

    def _ready(self, table: Table, slot: int, ranks: list[int]) -> NDArray[np.bool_]:
        needed = ranksets.of(ranks, table.word, table.words)
        bits = table.fields["bits"][slot]
        given: NDArray[np.bool_] = ((bits & needed) == needed).all(-1) & (table.fields["logged"][slot] > 0)
        return given

    def _close_cells(self, table: Table, slot: int, ranks: list[int]) -> None:
        done = table.done.get(slot)
        mask = self._ready(table, slot, ranks)
        if done is not None:
            mask &= ~done
        if not mask.any():
            return
        table.done[slot] = mask if done is None else mask | done
        self._emit(table, np.array([slot]), mask[None, :])

    def _close(self, table: Table, ready: NDArray[np.int64]) -> None:
        if not len(ready):
            return
        mask = table.fields["logged"][ready] > 0
        if table.done:
            for row, slot in enumerate(ready.tolist()):
                if slot in table.done:
                    mask[row] &= ~table.done[slot]
        self._emit(table, ready, mask)
        table.close(ready)
        self._forget(table, len(table.slots.kept) - self._limits.history_steps)
        capacity = table.slots.smaller()
        if capacity != table.slots.capacity:
            table.resize(capacity)

    def _emit(self, table: Table, slots: NDArray[np.int64], mask: NDArray[np.bool_]) -> None:
        self.open -= int(table.fields["logged"][slots].sum(where=mask))
        if mask.any():
            self.out.extend(cells_to_points(table, slots, slice(None), mask, self.world))

    def _forget(self, table: Table, count: int) -> None:
        if count > 0:
            table.slots.forget(count)
            self.columns.nbytes -= count * table.slot_bytes

    # -- deadlines and caps -------------------------------------------------------------------------------------

    def oldest(self) -> float:
        """When the first of the open steps was opened; inf without any."""
        return min((table.slots.oldest for table in self.columns.tables.values()), default=np.inf)

    def opened_at(self, step: int) -> float:
        """When a step that is open or kept was opened; -inf when there is none."""
        found = [
            float(table.slots.opened[table.slots.of_step[step]])
            for table in self.columns.tables.values()
            if step in table.slots.of_step
        ]
        return min(found, default=-np.inf)

    def close_overdue(self, now: float, deadline: float) -> int | None:
        """Close steps that were opened `deadline` seconds ago or earlier. Returns the highest of them."""
        highest: list[int] = []
        for table in self.columns.tables.values():
            if table.slots.oldest + deadline <= now:
                slots = table.slots.overdue(now, deadline)
                highest.append(int(table.slots.steps[slots].max()))
                self._close(table, slots)
        return max(highest, default=None)

    def bound(self) -> None:
        """Keep the caps: forget what is only kept, least lately used first, then close steps early, oldest first."""
        columns, limits = self.columns, self._limits
        for table in columns.tables.values():
            if table.slots.open > limits.max_open_steps:
                self._close_early(table, table.slots.open - limits.max_open_steps)
        if columns.retiring:
            columns.drop(lambda table: not table.slots.open and columns.retired(table))
        if columns.nbytes <= limits.max_bytes and columns.width <= limits.max_names:
            return
        for table in sorted(columns.tables.values(), key=lambda table: table.used_at):
            over = columns.nbytes - limits.max_bytes
            self._forget(table, min(len(table.slots.kept), max(0, -(-over // table.slot_bytes))))
            if columns.nbytes <= limits.max_bytes:
                break
        self._drop_idle()
        for table in sorted(columns.tables.values(), key=lambda table: -table.nbytes):
            over = columns.nbytes - limits.max_bytes
            if over <= 0:
                break
            count = min(table.slots.open, -(-over // table.slot_bytes))
            self._close_early(table, count)
            self._forget(table, min(count, len(table.slots.kept)))

    def _drop_idle(self) -> None:
        columns, limits = self.columns, self._limits
        idle = [table for table in columns.tables.values() if not table.slots.open]
        idle.sort(key=lambda table: table.used_at)
        dropped: set[int] = set()
        nbytes, width = columns.nbytes, columns.width
        for table in idle:
            if nbytes <= limits.max_bytes and width <= limits.max_names:
                break
            dropped.add(table.number)
            nbytes -= table.nbytes
            width -= len(table.names)
        columns.drop(lambda table: table.number in dropped)

    def _close_early(self, table: Table, count: int) -> None:
        self.closed_early += count
        self._close(table, table.slots.first_opened(count))


def _columns(rows: Rows, source: Any) -> Rows:
    if isinstance(source, slice):
        names = rows.names[source]
    else:
        names = tuple(rows.names[column] for column in source.tolist())
    return Rows(names, rows.steps, rows.times, rows.weights, rows.values[:, source])


def _picked(rows: Rows, chosen: Any) -> Rows:
    return Rows(rows.names, rows.steps[chosen], rows.times[chosen], rows.weights[chosen], rows.values[chosen])


def _distinct(steps: NDArray[np.int64]) -> Iterator[NDArray[np.int64] | None]:
    """Indices of rows such that no step comes twice, in as few rounds as it takes; None for all rows as they are."""
    if len(steps) == 0:
        return
    if len(steps) == 1 or (steps[1:] > steps[:-1]).all():
        yield None
        return
    order = steps.argsort(kind="stable")
    begins = np.flatnonzero(np.diff(steps[order], prepend=steps[order[0]] - 1))
    sizes = np.diff(begins, append=len(steps))
    nth = np.arange(len(steps)) - np.repeat(begins, sizes)
    for round_ in range(int(sizes.max())):
        yield order[nth == round_]
