"""How a metric stands at a step: whether its value is still being gathered, and whether any can come in time."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from asynclogd import ranksets
from asynclogd.progress import Progress
from asynclogd.slots import FREE, OPEN
from asynclogd.tables import Table
from asynclogd.window import Window


@dataclass(frozen=True, slots=True)
class Standing:
    """Of a name at `step` in this generation: `open`, values are there and the step is not closed for it; `past`, no
    rank that is waited for has values for it any more. `step` is None when the rank has never logged the name.
    """

    generation: int
    step: int | None
    open: bool
    past: bool


def of(progress: Progress, window: Window, top: int | None, rank: int, name: str, step: int | None) -> Standing:
    """The standing of `name` at `step`, None for the last one that `rank` logged it at; `top` is the highest of all."""
    if step is None:
        step = _last(window, rank, name)
    if step is None:
        return Standing(progress.generation, None, open=False, past=False)
    is_open = any(_is_open(table, column, step) for table, column in window.columns.places(name))
    return Standing(progress.generation, step, open=is_open, past=_is_past(progress, step, top))


def _is_past(progress: Progress, step: int, top: int | None) -> bool:
    may_close, low = progress.low()
    if not may_close or low is not None:
        return may_close and low is not None and step < low
    # Nobody is waited for: all have ended, or are silent and may go on after the steps that were seen.
    return progress.over() is not None or (top is not None and step <= top)


def _is_open(table: Table, column: int, step: int) -> bool:
    slot = table.slots.of_step.get(step)
    if slot is None or table.slots.state[slot] != OPEN:
        return False
    done = table.done.get(slot)
    return bool(table.fields["logged"][slot, column] > 0) and not (done is not None and done[column])


def _last(window: Window, rank: int, name: str) -> int | None:
    steps = [window.latest.of(name)]
    for table, column in window.columns.places(name):
        word, bit = ranksets.place(rank, table.word)
        if word < table.words:
            given = (table.slots.state != FREE) & ((table.fields["bits"][:, column, word] & bit) != 0)
            steps += [int(table.slots.steps[given].max())] if np.any(given) else []
    return max((step for step in steps if step is not None), default=None)
