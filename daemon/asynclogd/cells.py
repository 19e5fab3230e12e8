"""Points as a flat list of cells, for the rate limit: series have points at different steps there.

A cell is one point with all that its table says of it. `row` numbers the rows of all tables that went in, so that
cells of one row can be a row again, in the order of their columns.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclog_proto import wire
from asynclog_proto.errors import ProtocolError
from asynclogd.points import Points

CELL = np.dtype(
    [
        ("row", "<i8"),
        ("step", "<i8"),
        ("time", "<f8"),
        ("value", "<f8"),
        ("series", "<u4"),
        ("column", "<u4"),
        ("ranks", "<u4"),
        ("logged", "<u4"),
        ("world", "<u4"),
        ("generation", "<u4"),
        ("holder", "<i4"),
        ("flags", "<u4"),
    ]
)
REVISION, HOLDER, HOST = 1, 2, 4

Cells = NDArray[Any]
"""(n,) of CELL"""

Rule = tuple[Any, ...]
"""(pattern, length of its buckets in s, ...): told apart, and kept, as plain values"""


def empty() -> Cells:
    """No cells."""
    return np.empty(0, CELL)


def join(parts: Sequence[Cells]) -> Cells:
    """All cells, one part after the other."""
    return np.concatenate([empty(), *parts])


def logged_total(some: Cells) -> int:
    """How many logged values the cells account for."""
    return int(some["logged"].sum(dtype=np.int64))


def of_columns(points: Points, columns: NDArray[np.intp], series: NDArray[np.uint32], first_row: int) -> Cells:
    """The cells of some columns, one column after the other; `series` numbers the columns."""
    k, m = len(points.steps), len(columns)
    table = np.empty((m, k), CELL)
    table["row"] = np.arange(first_row, first_row + k)
    table["step"] = points.steps
    table["time"] = points.times
    table["series"] = series[:, None]
    table["column"] = columns[:, None]
    table["value"] = points.values[:, columns].T
    table["ranks"] = points.ranks[:, columns].T
    table["logged"] = points.logged[:, columns].T
    table["world"] = points.world
    table["generation"] = points.generation
    table["holder"] = points.holders[:, columns].T if points.holders is not None else -1
    table["flags"] = REVISION * points.revision | HOLDER * (points.holders is not None) | HOST * points.host
    return table.reshape(-1)


def columns_of(points: Points, columns: NDArray[np.intp]) -> Points:
    """The table of some of a table's columns."""
    return Points(
        names=tuple(points.names[column] for column in columns),
        steps=points.steps,
        times=points.times,
        values=points.values[:, columns],
        ranks=points.ranks[:, columns],
        logged=points.logged[:, columns],
        world=points.world,
        generation=points.generation,
        revision=points.revision,
        holders=points.holders[:, columns] if points.holders is not None else None,
        host=points.host,
    )


def rows_of(points: Points, rows: NDArray[np.intp]) -> Points:
    """The table of some of a table's rows."""
    return replace(
        points,
        steps=points.steps[rows],
        times=points.times[rows],
        values=points.values[rows],
        ranks=points.ranks[rows],
        logged=points.logged[rows],
        holders=points.holders[rows] if points.holders is not None else None,
    )


def tables(some: Cells, names: Sequence[str]) -> list[Points]:
    """The cells as tables, in the order of rows; neighbouring rows of the same series share a table."""
    some = some[np.lexsort((some["column"], some["row"]))]
    starts = np.flatnonzero(np.diff(some["row"], prepend=-1))
    rows = np.split(some, starts[1:]) if len(some) else []
    return [_table(np.stack(list(group)), names) for _, group in groupby(rows, key=_shared)]


def _shared(row: Cells) -> tuple[object, ...]:
    """What rows of one table have in common."""
    head = row[0]
    return row["series"].tobytes(), head["world"], head["generation"], head["flags"]


def _table(grid: Cells, names: Sequence[str]) -> Points:
    """(k, m) cells that agree in series, world, generation and flags."""
    head = grid[0, 0]
    return Points(
        names=tuple(names[number] for number in grid["series"][0]),
        steps=grid["step"][:, 0].astype(np.int64),
        times=grid["time"][:, 0].astype(np.float64),
        values=np.ascontiguousarray(grid["value"]),
        ranks=np.ascontiguousarray(grid["ranks"]),
        logged=np.ascontiguousarray(grid["logged"]),
        world=int(head["world"]),
        generation=int(head["generation"]),
        revision=bool(head["flags"] & REVISION),
        holders=np.ascontiguousarray(grid["holder"]) if head["flags"] & HOLDER else None,
        host=bool(head["flags"] & HOST),
    )


_LENGTHS = struct.Struct("<III")


def pack_state(
    rules: Sequence[Rule], opened: Sequence[float], held: Sequence[Cells], names: Sequence[str], row: int
) -> bytes:
    """A limiter's state. Only names of held cells are in it."""
    used, series = np.unique(join(held)["series"], return_inverse=True)
    renumbered = join(held)
    renumbered["series"] = series
    texts = [names[number].encode() for number in used]
    head = wire.pack([[list(rule) for rule in rules], list(opened), [len(part) for part in held], row])
    lengths = np.array([len(text) for text in texts], "<u4").tobytes()
    body = [head, lengths, *texts, renumbered.tobytes()]
    return _LENGTHS.pack(len(head), len(texts), sum(map(len, texts))) + b"".join(body)


def unpack_state(state: bytes) -> tuple[list[Rule], list[float], list[Cells], list[str], int]:
    """(rules, open buckets, held cells of each rule, names, row). Raises ProtocolError."""
    try:
        head_size, count, text_size = _LENGTHS.unpack_from(state)
        at = _LENGTHS.size + head_size
        rules, opened, sizes, row = wire.unpack(state[_LENGTHS.size : at], max_elements=2 * len(state))
        ends = np.cumsum(np.frombuffer(state, "<u4", count, at), dtype=np.int64).tolist()
        texts = state[at + 4 * count :][:text_size]
        names = [texts[start:end].decode() for start, end in zip([0, *ends], ends, strict=False)]
        held = np.frombuffer(state, CELL, sum(sizes), at + 4 * count + text_size)
        parts = np.split(held, np.cumsum(sizes)[:-1])
        if len(state) != at + 4 * count + text_size + held.nbytes or (held["series"] >= count).any():
            raise ProtocolError("a rate limit's state does not add up")
        return [tuple(rule) for rule in rules], opened, parts, names, row
    except (ValueError, TypeError, struct.error) as error:
        raise ProtocolError(f"not a rate limit's state: {error}") from error
