"""Points one by one, and the reductions as their definitions say."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from asynclogd.points import Item, Points

Told = tuple[Any, ...]
"""(step, value, time, ranks, logged, world, generation, revision, holder) of one point"""


@dataclass
class Value:
    rank: int
    value: float
    weight: float
    time: float


def reduce(reduction: str, values: list[Value]) -> tuple[float, int | None]:
    """The reduction of some values, and the rank that held it."""
    if reduction in {"min", "max"}:
        nans = [value.rank for value in values if math.isnan(value.value)]
        if nans:
            return math.nan, min(nans)
        best = (min if reduction == "min" else max)(value.value for value in values)
        return best, min(value.rank for value in values if value.value == best)
    return _DEFINITIONS[reduction](values), None


def _mean(values: list[Value]) -> float:
    return _sum(v.value * v.weight for v in values) / _sum(v.weight for v in values)


def _std(values: list[Value]) -> float:
    numbers = [value.value for value in values]
    if not all(map(math.isfinite, numbers)):
        return math.nan
    mean = math.fsum(numbers) / len(numbers)
    return math.sqrt(math.fsum((number - mean) ** 2 for number in numbers) / len(numbers))


_DEFINITIONS: dict[str, Callable[[list[Value]], float]] = {
    "mean": _mean,
    "sum": lambda values: _sum(value.value for value in values),
    "std": _std,
    "first": lambda values: min(values, key=lambda value: (value.time, value.rank)).value,
    # Of equal (time, rank) the one that came last.
    "last": lambda values: max(reversed(values), key=lambda value: (value.time, value.rank)).value,
}


def _sum(numbers: Iterable[float]) -> float:
    numbers = list(numbers)
    return math.fsum(numbers) if all(map(math.isfinite, numbers)) else sum(numbers)


def told(items: Iterable[Item]) -> dict[str, list[Told]]:
    """Points as the model tells them, series by series."""
    series: dict[str, list[Told]] = {}
    for table in items:
        if not isinstance(table, Points):
            continue
        for row, step in enumerate(table.steps.tolist()):
            for column, name in enumerate(table.names):
                held = -1 if table.holders is None else int(table.holders[row, column])
                holder = None if held < 0 else held
                point = (
                    step, float(table.values[row, column]), float(table.times[row]), int(table.ranks[row, column]),
                    int(table.logged[row, column]), table.world, table.generation, table.revision, holder,
                )  # fmt: skip
                series.setdefault(name, []).append(point)
    return series
