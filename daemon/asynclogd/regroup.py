"""Tables of rows by the names that they have in common, whatever layouts they came in."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclogd.rows import Rows
from asynclogd.segment import Found, Segment, Shape

_MOST_STRETCHES = 256
_MAX_PLANS = 256


@dataclass(frozen=True, slots=True)
class _Share:
    """Names that the same layouts have, and where in those: (index of the layout, columns)."""

    names: tuple[str, ...]
    sources: list[tuple[int, Any]]


class Regroup:
    """Turns segments into Rows; remembers how, per combination of layouts.

    Layouts that have names in common give a table for each stretch of one layout, in order, so that a row stays whole.
    Where such stretches are many, the common names go into a table of their own instead.
    """

    def __init__(self) -> None:
        self._plans: dict[tuple[Shape, ...], list[_Share]] = {}

    def tables(self, segment: Segment) -> Iterator[Rows]:
        """The segment's rows. Raises ProtocolError when they are malformed."""
        if not segment:
            return
        found = segment.tables()
        parts = list(found.values())
        plan = self._plan(tuple(found))
        common = sorted({index for share in plan if len(share.sources) > 1 for index, _ in share.sources})
        stretches = _stretches(parts, common) if common else []
        if common and stretches is not None and (every := _stretches(parts, [*range(len(parts))])) is not None:
            common, stretches = [*range(len(parts))], every  # all in their order: what a person expects of a file
        whole = stretches is not None
        if stretches is not None:
            shapes = list(found)
            for index, first, last in stretches:
                yield _rows(shapes[index].names, parts[index][1][first:last], slice(None))
        for share in plan:
            if whole and share.sources[0][0] in common:
                continue
            if len(share.sources) == 1:
                index, columns = share.sources[0]
                yield _rows(share.names, parts[index][1], columns)
            else:
                yield _merged(share, parts)

    def _plan(self, shapes: tuple[Shape, ...]) -> list[_Share]:
        plan = self._plans.get(shapes)
        if plan is None:
            if len(self._plans) >= _MAX_PLANS:
                self._plans.clear()
            plan = self._plans[shapes] = _shares(shapes)
        return plan


Stretches = list[tuple[int, int, int]]


def _stretches(parts: list[Found], some: list[int]) -> Stretches | None:
    """The rows of `some` layouts as (index, first row, last row + 1): rows of one layout that follow each other. None
    when they are too many.
    """
    begins = np.concatenate([parts[index][0] for index in some])
    owners = np.repeat(some, [len(parts[index][0]) for index in some])[begins.argsort()]
    ends = [*(np.flatnonzero(np.diff(owners)) + 1).tolist(), len(owners)]
    if len(ends) > _MOST_STRETCHES:
        return None
    found, at, taken = [], 0, dict.fromkeys(some, 0)
    for end in ends:
        index = int(owners[at])
        found.append((index, taken[index], taken[index] + end - at))
        taken[index] += end - at
        at = end
    return found


def _shares(shapes: tuple[Shape, ...]) -> list[_Share]:
    if len(frozenset().union(*(shape.name_set for shape in shapes))) == sum(len(s.names) for s in shapes):
        return [_Share(shape.names, [(index, slice(None))]) for index, shape in enumerate(shapes)]
    owners: dict[str, list[tuple[int, int]]] = {}
    for index, shape in enumerate(shapes):
        for column, name in enumerate(shape.names):
            owners.setdefault(name, []).append((index, column))
    groups: dict[tuple[int, ...], list[str]] = {}
    for name, places in owners.items():
        groups.setdefault(tuple(index for index, _ in places), []).append(name)
    return [
        _Share(
            tuple(names),
            [(index, np.array([owners[name][i][1] for name in names])) for i, index in enumerate(indices)],
        )
        for indices, names in groups.items()
    ]


def _rows(names: tuple[str, ...], table: NDArray[np.void], columns: Any) -> Rows:
    return Rows(
        names,
        table["step"].astype(np.int64),
        table["time"].astype(np.float64),
        table["weight"].astype(np.float64),
        table["values"][:, columns].astype(np.float64, order="C"),
    )


def _merged(share: _Share, parts: list[Found]) -> Rows:
    order = np.concatenate([parts[index][0] for index, _ in share.sources]).argsort()
    each = [_rows(share.names, parts[index][1], columns) for index, columns in share.sources]
    return Rows(
        share.names,
        np.concatenate([rows.steps for rows in each])[order],
        np.concatenate([rows.times for rows in each])[order],
        np.concatenate([rows.weights for rows in each])[order],
        np.concatenate([rows.values for rows in each])[order],
    )
