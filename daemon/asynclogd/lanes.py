"""Rows that keep to themselves, by what defines say of their names.

A name may come in rows of several kinds, as `epoch` does in a step's and in an evaluation's. A lane keeps the rows of
a kind apart: names in them, whether they have a lane or not, are folded with those of such rows alone.

Steps of a lane's own are not the run's. An evaluation counts its batches, whatever step the run is at: a rank's mark
neither moves by them nor says anything of them, and they supersede nothing. Such a step closes when each rank that is
waited for has given what others gave; when all have come further in the run than the rank that opened it was; or when
all have flushed since. A rank that gives a closed step once more begins it anew: the next evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from asynclogd import ranksets
from asynclogd.slots import OPEN

if TYPE_CHECKING:
    from asynclogd.tables import Table
    from asynclogd.window import Window


@dataclass(frozen=True, slots=True)
class Lane:
    """Which rows are folded together, and whether their steps are their own."""

    name: str = ""
    own_steps: bool = False


RUN = Lane()
"""That of rows of which nothing was said."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where rows come from: a rank, at `now` (s), which had come to `mark` (None: nowhere) after so many flushes."""

    rank: int
    now: float
    mark: int | None
    flushes: int


def settle(window: Window, ranks: list[int], low: int | None, flushes: int) -> None:
    """Close steps of their own: `ranks` are waited for, have all come to `low` (None: not known), and all have said
    this number of flushes.
    """
    for table in list(window.columns.tables.values()):
        if table.lane.own_steps and table.slots.open:
            _settle(window, table, ranks, low, flushes)


def _settle(window: Window, table: Table, ranks: list[int], low: int | None, flushes: int) -> None:
    slots = np.flatnonzero(table.slots.state == OPEN)
    slots = slots[table.slots.steps[slots].argsort()]
    needed = ranksets.of(ranks, table.word, table.words)
    given = ((table.fields["bits"][slots] & needed) == needed).all(-1)
    ready = (given | (table.fields["logged"][slots] == 0)).all(-1)
    ready |= table.slots.flushes[slots] < flushes
    if low is not None:
        ready |= table.slots.marks[slots] < low
    window.close(table, slots[ready])
    for slot in slots[~ready & given.any(-1)].tolist():
        window.close_cells(table, slot, ranks)
