"""Points and references as Arrow tables, and which of their rows are to go."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from asynclogd.backends._mediaref import COLUMNS, reference
from asynclogd.points import Media, Points


def point_rows(points: Points, first: int) -> Any:
    """An Arrow table with a row for each point, step by step; `first` is the number of its first row."""
    steps, series = points.values.shape
    count = steps * series
    codes = np.tile(np.arange(series, dtype=np.int32), steps)
    names = pa.DictionaryArray.from_arrays(column(codes, pa.int32()), texts(points.names))
    columns = {
        "name": names,
        "step": column(np.repeat(points.steps, series), pa.int64()),
        "time": column(np.repeat(_microseconds(points.times), series), _TIME),
        "value": column(points.values.ravel(), pa.float64()),
        "ranks": column(points.ranks.ravel().astype(np.int32), pa.int32()),
        "world": column(np.full(count, points.world, np.int32), pa.int32()),
        "generation": column(np.full(count, points.generation, np.int32), pa.int32()),
        "revision": column(np.full(-(-count // 8), 0xFF * points.revision, np.uint8), pa.bool_(), count=count),
        "row": column(np.arange(first, first + count), pa.int64()),
    }
    return pa.table(columns)


def media_row(item: Media, number: int) -> Any:
    """An Arrow table of one row, of the columns of media.csv."""
    values = reference(item)
    values["options"] = msgspec.json.encode(values["options"]).decode()
    columns = {
        name: texts([values[name]]) if isinstance(values[name], str) else column(np.array([values[name]]), pa.int64())
        for name in COLUMNS
        if name != "time"
    }
    columns["time"] = column(_microseconds(np.array([item.time])), _TIME)
    return pa.table({**{name: columns[name] for name in COLUMNS}, "row": column(np.array([number]), pa.int64())})


_TIME = pa.timestamp("us", "UTC")


def _microseconds(times: Any) -> Any:
    return np.rint(times * 1e6).astype(np.int64)


# Arrow's columns by their memory: `pa.array` and `to_numpy` import pandas, to ask whether something is one of its own.


def column(data: Any, kind: Any, *, count: int | None = None, valid: Sequence[bool] | None = None) -> Any:
    """A NumPy array as a column of that type; `count` where it is not one element for each value."""
    return pa.Array.from_buffers(kind, len(data) if count is None else count, [_bits(valid), pa.py_buffer(data)])


def texts(values: Sequence[str | None]) -> Any:
    """A column of strings, None for a null."""
    encoded = [b"" if text is None else text.encode() for text in values]
    ends = np.cumsum([0, *map(len, encoded)], dtype=np.int32)
    valid = _bits([text is not None for text in values])
    return pa.Array.from_buffers(pa.string(), len(values), [valid, pa.py_buffer(ends), pa.py_buffer(b"".join(encoded))])


def _bits(valid: Sequence[bool] | None) -> Any:
    if valid is None or all(valid):
        return None
    return pa.py_buffer(np.packbits(np.array(valid, np.bool_), bitorder="little"))


def whole_numbers(values: Any) -> Any:
    """An int64 column as a NumPy array."""
    chunks = [np.frombuffer(chunk.buffers()[1], np.int64)[chunk.offset :][: len(chunk)] for chunk in values.chunks]
    return np.concatenate(chunks) if chunks else np.empty(0, np.int64)


@dataclass(slots=True)
class Drops:
    """Rows that later ones supersede.

    revised     (name, step): of these, the rows whose number is less than the value
    rewinds     (number, step): rows before that number, of that step and later ones
    """

    revised: dict[tuple[str, int], int] = field(default_factory=dict)
    rewinds: list[tuple[int, int]] = field(default_factory=list)

    def __bool__(self) -> bool:
        """Whether there are any."""
        return bool(self.revised or self.rewinds)

    def revise(self, points: Points, before: int) -> None:
        """These points replace what came before the row of that number."""
        self.revised.update(dict.fromkeys(product(points.names, points.steps.tolist()), before))

    def touch(self, first_step: int, last_step: int) -> bool:
        """Whether rows of these steps, ends included, may be among them."""
        if any(step <= last_step for _, step in self.rewinds):
            return True
        return any(first_step <= step <= last_step for _, step in self.revised)

    def kept(self, table: Any) -> Any:
        """The table without them; the same one when none is of it."""
        if not self:
            return table
        steps, rows = whole_numbers(table["step"]), whole_numbers(table["row"])
        gone = np.zeros(len(rows), np.bool_)
        for before, step in self.rewinds:
            gone |= (rows < before) & (steps >= step)
        if self.revised:
            maybe = np.flatnonzero(np.isin(steps, list({step for _, step in self.revised})) & ~gone)
            names = table["name"].take(column(maybe, pa.int64())).to_pylist()
            found = zip(names, steps[maybe].tolist(), rows[maybe].tolist(), strict=True)
            gone[maybe] = [row < self.revised.get((name, step), 0) for name, step, row in found]
        return table.take(column(np.flatnonzero(~gone), pa.int64())) if gone.any() else table
