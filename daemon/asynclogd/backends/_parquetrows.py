"""Points and references as Arrow tables, and which of their rows are to go."""

from __future__ import annotations

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
    columns = {
        "name": pa.DictionaryArray.from_arrays(codes, pa.array(points.names, pa.string())),
        "step": np.repeat(points.steps, series),
        "time": pa.array(np.repeat(_microseconds(points.times), series), _TIME),
        "value": points.values.ravel(),
        "ranks": points.ranks.ravel().astype(np.int32),
        "world": np.full(count, points.world, np.int32),
        "generation": np.full(count, points.generation, np.int32),
        "revision": np.full(count, points.revision, np.bool_),
        "row": np.arange(first, first + count),
    }
    return pa.table(columns)


def media_row(item: Media, number: int) -> Any:
    """An Arrow table of one row, of the columns of media.csv."""
    values = reference(item)
    values["options"] = msgspec.json.encode(values["options"]).decode()
    values["time"] = int(_microseconds(np.array([item.time]))[0])
    columns = {name: pa.array([values[name]], _TIME if name == "time" else None) for name in COLUMNS}
    return pa.table({**columns, "row": pa.array([number], pa.int64())})


_TIME = pa.timestamp("us", "UTC")


def _microseconds(times: Any) -> Any:
    return np.rint(times * 1e6).astype(np.int64)


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
        steps, rows = table["step"].to_numpy(), table["row"].to_numpy()
        gone = np.zeros(len(rows), np.bool_)
        for before, step in self.rewinds:
            gone |= (rows < before) & (steps >= step)
        if self.revised:
            maybe = np.flatnonzero(np.isin(steps, list({step for _, step in self.revised})) & ~gone)
            names = table["name"].take(pa.array(maybe)).to_pylist()
            found = zip(names, steps[maybe].tolist(), rows[maybe].tolist(), strict=True)
            gone[maybe] = [row < self.revised.get((name, step), 0) for name, step, row in found]
        return table.filter(pa.array(~gone)) if gone.any() else table
