"""What a window does when it holds too much: it forgets, and then closes steps before their ranks have given all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from asynclogd.tables import Table

if TYPE_CHECKING:
    from asynclogd.window import Window


@dataclass(frozen=True, slots=True)
class ReducerSettings:
    """Deadlines in seconds, and caps.

    join_deadline   how long ranks that have not joined, or not fed anything yet, are waited for
    step_deadline   how long a step stays open after its first value
    history_steps   closed steps of each metric in which late values are still merged
    max_open_steps  open steps of each metric; beyond it the oldest closes early
    max_bytes       of partials in use; growing may take twice as much for a while
    max_names       metrics that are kept at a time
    """

    join_deadline: float = 5.0
    step_deadline: float = 30.0
    history_steps: int = 256
    max_open_steps: int = 10_000
    max_bytes: int = 128 << 20
    max_names: int = 1_000_000


def keep(window: Window) -> None:
    """Bring the window under its limits.

    First goes what is kept for late values only, of the metrics that were logged the longest ago; then their tables;
    then the steps that have been open the longest, in the largest tables.
    """
    columns, limits = window.columns, window.settings
    for table in columns.tables.values():
        if table.slots.open > limits.max_open_steps:
            _close_early(window, table, table.slots.open - limits.max_open_steps)
    if _fits(window):
        return
    for table in sorted(columns.tables.values(), key=lambda table: table.used_at):
        window.forget(table, min(len(table.slots.kept), _excess_steps(window, table)))
    _drop_idle(window)
    for table in sorted(columns.tables.values(), key=lambda table: -table.nbytes):
        count = min(table.slots.open, _excess_steps(window, table))
        if count:
            _close_early(window, table, count)
            window.forget(table, min(count, len(table.slots.kept)))


def exceeded(window: Window) -> bool:
    """Whether `keep` has something to do."""
    most = window.settings.max_open_steps
    return not _fits(window) or any(table.slots.open > most for table in window.columns.tables.values())


def _fits(window: Window) -> bool:
    return window.columns.nbytes <= window.settings.max_bytes and window.columns.width <= window.settings.max_names


def _excess_steps(window: Window, table: Table) -> int:
    """How many steps of this table would have to go."""
    return max(0, -(-(window.columns.nbytes - window.settings.max_bytes) // table.slot_bytes))


def _drop_idle(window: Window) -> None:
    columns, limits = window.columns, window.settings
    idle = sorted((table for table in columns.tables.values() if not table.slots.open), key=lambda table: table.used_at)
    nbytes, width = columns.nbytes, columns.width
    dropped: set[int] = set()
    for table in idle:
        if nbytes <= limits.max_bytes and width <= limits.max_names:
            break
        dropped.add(table.number)
        nbytes -= table.nbytes
        width -= len(table.names)
    columns.drop(lambda table: table.number in dropped)


def _close_early(window: Window, table: Table, count: int) -> None:
    window.closed_early += count
    window.close(table, table.slots.first_opened(count))
