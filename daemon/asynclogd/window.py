"""The steps of a generation that are open, or closed lately: values enter, points come out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclogd import caps, ranksets
from asynclogd.caps import ReducerSettings
from asynclogd.columns import Columns
from asynclogd.lanes import Lane, Origin
from asynclogd.latest import Latest
from asynclogd.metrics import Spec
from asynclogd.partials import Entering
from asynclogd.points import Points
from asynclogd.rows import Rows
from asynclogd.slots import KEPT, OPEN
from asynclogd.tables import Table
from asynclogd.tabulate import World, cells_to_points, plain

REVISION_GAP = 0.002
"""s by which a late value's point is later than what was told of its step before, at least. Products keep whole ms, and
of two values at one step and time some show the greater one."""


class Window:
    """Folds one generation's rows. Points go to `out`; `open` counts logged values that are in none yet."""

    def __init__(self, settings: ReducerSettings, world: World) -> None:
        self.world = world
        self.columns = Columns(world.size)
        self.latest = Latest()
        self.out: list[Points] = []
        self.open = 0
        self.late = 0
        """values that came after their step had closed"""
        self.closed_early = 0
        """steps of a table that a cap has closed"""
        self.settings = settings

    def widen(self, size: int) -> None:
        """The world has grown."""
        self.world = World(size, self.world.generation)
        self.columns.widen(size)

    # -- values enter -------------------------------------------------------------------------------------------

    def feed(self, spec: Spec, lane: Lane, rows: Rows, origin: Origin) -> None:
        """Fold rows of this lane, of metrics that have this spec, which reduces."""
        for share in self.columns.shares(rows.names, spec, lane):
            whole = isinstance(share.source, slice) and share.source == slice(None)
            part = rows if whole else rows.columns(share.source)
            share.table.used_at = self.columns.tick()
            self._enter(share.table, share.columns, part, origin)

    def _enter(self, table: Table, columns: Any, rows: Rows, origin: Origin) -> None:
        if table.elder is not None and table.elder_columns is not None:
            theirs = table.elder.slots.lookup(rows.steps) >= 0
            if theirs.any():
                self._enter(table.elder, table.elder_columns[columns], rows.picked(theirs), origin)
                rows = rows.picked(~theirs)
                if not len(rows.steps):
                    return
        for part in rows.rounds():
            self._enter_once(table, columns, part, origin)

    def _enter_once(self, table: Table, columns: Any, rows: Rows, origin: Origin) -> None:
        rank = origin.rank
        slots = table.slots.find(rows.steps)
        if slots is None:
            if table.lane.own_steps:
                self._begin_anew(table, columns, rows.steps, rank)
            slots = self._slots(table, rows.steps, origin)
        if not isinstance(slots, slice):
            gone, late = slots < 0, table.slots.state[slots] == KEPT
            if gone.any():
                self._gone(table, rows.picked(gone), rank)
            late &= ~gone
            if late.any():
                self._late(table, columns, slots[late], rows.picked(late), rank)
            live = ~(gone | late)
            if not live.any():
                return
            slots, rows = slots[live], rows.picked(live)
        told = table.slots.times[slots].copy() if table.done else None
        self._add(table, columns, slots, rows, rank)
        self.open += rows.values.size
        if told is not None:
            self._after_done(table, columns, slots, told)

    def _begin_anew(self, table: Table, columns: Any, steps: NDArray[np.int64], rank: int) -> None:
        """Steps that are closed and that the rank gave already are those of its next evaluation."""
        slots = table.slots.lookup(steps)
        slots = slots[(slots >= 0) & (table.slots.state[slots] == KEPT)]
        again = slots[table.given(slots, columns, rank)] if len(slots) else slots
        if len(again):
            table.slots.begin_anew(again)
            self.columns.nbytes -= len(again) * table.slot_bytes

    def _slots(self, table: Table, steps: NDArray[np.int64], origin: Origin) -> Any:
        """The steps' slots; opens those that are new. -1 for a step that was closed so long ago that it is gone."""
        slots = table.slots.lookup(steps)
        fresh = slots < 0
        if table.slots.horizon is not None and not table.lane.own_steps:
            fresh &= steps > table.slots.horizon
        if not fresh.any():
            return slots
        self.columns.nbytes += int(np.count_nonzero(fresh)) * table.slot_bytes
        if fresh.all():
            return table.open_steps(steps, origin)
        table.open_steps(steps[fresh], origin)
        return table.slots.lookup(steps)

    def _add(self, table: Table, columns: Any, slots: Any, rows: Rows, rank: int) -> None:
        weights = None if (rows.weights == 1.0).all() else rows.weights[:, None]
        with np.errstate(all="ignore"):
            table.add(slots, columns, Entering(rank, rows.values, rows.times[:, None], weights))

    def _gone(self, table: Table, rows: Rows, rank: int) -> None:
        self.late += rows.values.size
        self.out.extend(plain(table.spec, rows, rank, self.world, revision=True))

    def _late(self, table: Table, columns: Any, slots: NDArray[np.int64], rows: Rows, rank: int) -> None:
        self.late += rows.values.size
        known = table.fields["logged"][slots][:, columns] > 0
        told = table.slots.times[slots]
        self._add(table, columns, slots, rows, rank)
        table.slots.times[slots] = np.maximum(table.slots.times[slots], told + REVISION_GAP)
        for mask, revision in ((known, True), (~known, False)):
            if mask.any():
                self.out.extend(cells_to_points(table, slots, columns, mask, self.world, revision=revision))

    def _after_done(self, table: Table, columns: Any, slots: Any, told: NDArray[np.float64]) -> None:
        """Values have entered cells of open steps that are closed already: they are late. `told`: the times that the
        steps had before.
        """
        times = table.slots.times
        for slot, before in zip(np.arange(table.slots.capacity)[slots].tolist(), told.tolist(), strict=True):
            if slot not in table.done:
                continue
            mask = table.done[slot][columns][None, :]
            count = int(np.count_nonzero(mask))
            if count:
                times[slot] = np.maximum(times[slot], before + REVISION_GAP)
                self.open -= count
                self.late += count
                self.out.extend(cells_to_points(table, np.array([slot]), columns, mask, self.world, revision=True))

    # -- steps close --------------------------------------------------------------------------------------------

    def settle(self, low: int | None, ranks: list[int]) -> None:
        """Close every step of the run under `low` (all, and those of their own, for None), and at `low` what all of
        `ranks` have given.
        """
        for table in list(self.columns.tables.values()):
            slots = table.slots
            if not slots.open or (low is not None and (table.lane.own_steps or slots.lowest > low)):
                continue
            ready = slots.below(low)
            slot = None if low is None else slots.of_step.get(low)
            if slot is not None and slots.state[slot] == OPEN:
                if self._ready(table, slot, ranks).all():
                    ready = np.append(ready, slot)
                    slot = None
            else:
                slot = None
            self.close(table, ready)
            if slot is not None:
                self.close_cells(table, slot, ranks)

    def _ready(self, table: Table, slot: int, ranks: list[int]) -> NDArray[np.bool_]:
        needed = ranksets.of(ranks, table.word, table.words)
        bits = table.fields["bits"][slot]
        given: NDArray[np.bool_] = ((bits & needed) == needed).all(-1) & (table.fields["logged"][slot] > 0)
        return given

    def close_cells(self, table: Table, slot: int, ranks: list[int]) -> None:
        """Close what all of `ranks` have given of an open step."""
        done = table.done.get(slot)
        mask = self._ready(table, slot, ranks)
        if done is not None:
            mask &= ~done
        if not mask.any():
            return
        table.done[slot] = mask if done is None else mask | done
        self._emit(table, np.array([slot]), mask[None, :])

    def close(self, table: Table, ready: NDArray[np.int64]) -> None:
        """Close these open slots, which are in the order of their steps."""
        if not len(ready):
            return
        mask = table.fields["logged"][ready] > 0
        if table.done:
            for row, slot in enumerate(ready.tolist()):
                if slot in table.done:
                    mask[row] &= ~table.done[slot]
        self._emit(table, ready, mask)
        table.close(ready)
        self.forget(table, len(table.slots.kept) - self.settings.history_steps)
        capacity = table.slots.smaller()
        if capacity != table.slots.capacity:
            table.resize(capacity)

    def _emit(self, table: Table, slots: NDArray[np.int64], mask: NDArray[np.bool_]) -> None:
        self.open -= int(table.fields["logged"][slots].sum(where=mask))
        if mask.any():
            self.out.extend(cells_to_points(table, slots, slice(None), mask, self.world))

    def forget(self, table: Table, count: int) -> None:
        """Keep the `count` steps that were closed first no longer; no more than are kept."""
        if count > 0:
            table.slots.forget(count)
            self.columns.nbytes -= count * table.slot_bytes

    # -- deadlines and limits ----------------------------------------------------------------------------------

    def oldest(self) -> float:
        """When the first of the open steps was opened; inf without any."""
        return min((table.slots.oldest for table in self.columns.tables.values()), default=np.inf)

    def opened_at(self, lane: Lane, step: int) -> float:
        """When a step of a lane that is open or kept was opened; -inf when there is none."""
        found = [
            float(table.slots.opened[table.slots.of_step[step]])
            for table in self.columns.tables.values()
            if table.lane == lane and step in table.slots.of_step
        ]
        return min(found, default=-np.inf)

    def close_overdue(self, now: float, deadline: float) -> dict[bool, int]:
        """Close steps that were opened `deadline` seconds ago or earlier. Returns the highest of the run (False) and
        of lanes with steps of their own (True), where there are any.
        """
        highest: dict[bool, int] = {}
        for table in self.columns.tables.values():
            if table.slots.oldest + deadline <= now:
                slots = table.slots.overdue(now, deadline)
                own, step = table.lane.own_steps, int(table.slots.steps[slots].max())
                highest[own] = max(step, highest.get(own, step))
                self.close(table, slots)
        return highest

    def bound(self) -> None:
        """Let go of tables that a define retired, once nothing in them is open, and keep the limits."""
        if self.columns.retiring:
            self.columns.drop(lambda table: not table.slots.open and self.columns.retired(table))
        caps.keep(self)
