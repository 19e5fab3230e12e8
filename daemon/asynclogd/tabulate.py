"""Points from cells, and points from rows that need no reducing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclogd import ranksets
from asynclogd.metrics import Spec
from asynclogd.points import Points
from asynclogd.rows import Rows
from asynclogd.tables import Table, grid

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class World:
    """What all points of a generation have in common."""

    size: int
    generation: int = 0


def cells_to_points(
    table: Table, slots: NDArray[np.int64], columns: Any, mask: Mask, world: World, *, revision: bool | None = None
) -> Iterator[Points]:
    """The points of the cells (slot, column) that `mask` (k, m) picks, a table of points for each reduction.

    With `revision` None the steps close, and the points account for all that was logged. Else one value has just
    entered each cell after it had closed, and the points account for that value alone.
    """
    index = grid(_slice_of(slots), columns)
    cells = {name: array[index] for name, array in table.fields.items()}
    steps, times = table.slots.steps[slots], table.slots.times[slots]
    for rows, chosen in _rectangles(mask):
        part = cells
        if chosen is not None:
            part = {name: array[np.ix_(rows, chosen)] for name, array in cells.items()}
        ranks = ranksets.sizes(part["bits"])
        for number, partial in enumerate(table.partials):
            names = _picked(_picked(table.series[number], columns), chosen)
            logged = part["logged"].copy() if revision is None else np.ones(ranks.shape, np.uint32)
            if number:
                logged[:] = 0
            holders = None if partial.holder is None else part[partial.holder].copy()
            with np.errstate(all="ignore"):
                values = partial.value(part)
            yield Points(
                names, steps[rows].copy(), times[rows].copy(), values, ranks, logged,
                world.size, world.generation, bool(revision), holders,
            )  # fmt: skip


def _picked(names: tuple[str, ...], columns: Any) -> tuple[str, ...]:
    if columns is None:
        return names
    if isinstance(columns, slice):
        return names[columns]
    return tuple(names[column] for column in columns.tolist())


def _slice_of(slots: NDArray[np.int64]) -> Any:
    first, last = int(slots[0]), int(slots[-1])
    if last - first == len(slots) - 1 and (np.diff(slots) == 1).all():
        return slice(first, last + 1)
    return slots


def _rectangles(mask: Mask) -> Iterator[tuple[Any, NDArray[np.int64] | None]]:
    """A mask (k, m) as full rectangles (rows, columns), columns None for all of them.

    Columns that have the same rows go together: so each column's rows stay in order, whatever the others have.
    """
    if mask.all():
        yield slice(None), None
        return
    patterns: dict[bytes, list[int]] = {}
    for column, packed in enumerate(np.ascontiguousarray(np.packbits(mask, axis=0).T)):
        patterns.setdefault(packed.tobytes(), []).append(column)
    for columns in patterns.values():
        rows = np.flatnonzero(mask[:, columns[0]])
        if len(rows):
            yield rows, np.array(columns)


def plain(spec: Spec, rows: Rows, rank: int, world: World, *, revision: bool = False) -> Iterator[Points]:
    """Rows of one rank as they are: each reduction of a single value."""
    shape = rows.values.shape
    for number, reduction in enumerate(spec.reductions):
        values = rows.values
        if reduction == "std":
            with np.errstate(invalid="ignore"):
                values = values - values
        holders = np.full(shape, rank, np.int32) if reduction in {"min", "max"} else None
        yield Points(
            spec.series(number, rows.names), rows.steps, rows.times, values,
            np.ones(shape, np.uint32), np.full(shape, number == 0, np.uint32),
            world.size, world.generation, revision, holders,
        )  # fmt: skip


def of_rank(spec: Spec, series: tuple[str, ...], rows: Rows, world: World) -> Points:
    """Rows as the series of their rank; they account for the values only where there is no reduction."""
    shape = rows.values.shape
    return Points(
        series, rows.steps, rows.times, rows.values,
        np.ones(shape, np.uint32), np.full(shape, not spec.reductions, np.uint32),
        world.size, world.generation,
    )  # fmt: skip


def abreast(tables: Iterable[Points]) -> Iterator[Points]:
    """Tables in their order; those that follow each other and are of the same calls of `log()`, reduced in several
    ways, as one. They are of the same calls where their steps have the same times.
    """
    beside: list[Points] = []
    for table in tables:
        if beside and not _same_rows(beside, table):
            yield _widened(beside)
            beside = []
        beside.append(table)
    if beside:
        yield _widened(beside)


def _same_rows(beside: list[Points], table: Points) -> bool:
    one = beside[0]
    return (
        one.revision == table.revision
        and np.array_equal(one.steps, table.steps)
        and np.array_equal(one.times, table.times)
        and all(set(table.names).isdisjoint(each.names) for each in beside)
    )


def _widened(tables: list[Points]) -> Points:
    if len(tables) == 1:
        return tables[0]
    one, holders = tables[0], None
    if any(table.holders is not None for table in tables):
        holders = np.concatenate([_holders(table) for table in tables], axis=1)
    return Points(
        tuple(name for table in tables for name in table.names), one.steps, one.times,
        np.concatenate([table.values for table in tables], axis=1),
        np.concatenate([table.ranks for table in tables], axis=1),
        np.concatenate([table.logged for table in tables], axis=1),
        one.world, one.generation, one.revision, holders,
    )  # fmt: skip


def _holders(table: Points) -> NDArray[np.int32]:
    return np.full(table.values.shape, -1, np.int32) if table.holders is None else table.holders
