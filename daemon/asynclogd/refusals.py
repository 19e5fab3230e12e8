"""What a backend has refused for good: an item, or rows of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from asynclogd.cells import rows_of
from asynclogd.points import Item, Points
from asynclogd.redact import Redactor

LONGEST_REASON = 500


class Refusal(NamedTuple):
    """Why a backend will never take something: all of it, or of a table these rows."""

    reason: str
    rows: tuple[int, ...] = ()


Refusals = dict[tuple[int, int], list[Refusal]]
"""Of the n-th part that comes of the item at an offset, {(offset, n): refusals}: each of what those before it left."""


class RefusedError(Exception):
    """The backend refuses one known item for good, or some rows of one."""

    def __init__(self, offset: int, part: int, reason: str, rows: Sequence[int] = ()) -> None:
        super().__init__(reason)
        self.key = (offset, part)
        self.refusal = Refusal(Redactor().text(reason)[:LONGEST_REASON], tuple(rows))  # it is journaled


def apart(part: Item, rows: Sequence[int]) -> tuple[Item, Item | None]:
    """What is refused of a part, and the rest of it: of a table the rows that are named, else all."""
    if not isinstance(part, Points):
        return part, None
    refused = np.isin(np.arange(len(part.steps)), rows)
    if refused.all() or not refused.any():
        return part, None
    return rows_of(part, np.flatnonzero(refused)), rows_of(part, np.flatnonzero(~refused))
