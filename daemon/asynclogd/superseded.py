"""What the ranks of a launch still log when a newer one has begun. Pure.

The newer launch supersedes the run from its lowest step on, so rows of that step and later ones are not told: they are
counted, and never stand in the place of what the newer one has said. Rows of lower steps are told as they are, as are
steps of a lane's own, which supersede nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from asynclogd.metrics import Metrics
from asynclogd.points import Item
from asynclogd.rows import Rows
from asynclogd.tabulate import World, of_rank, plain
from asynclogd.tally import Tally

CAUSE = "superseded"
"""The cause of values of steps that a newer launch had begun to log."""


def feed(tally: Tally, metrics: Metrics, rank: int, launch: str, decoded: Iterable[Any]) -> list[Item]:
    """What is told of this, which a rank of an older launch has said."""
    generation, world = tally.launches[launch]
    until = tally.superseded_from(generation)
    items: list[Item] = []
    for rows in (said for said in decoded if isinstance(said, Rows)):
        own_steps = metrics.lane(rows.names).own_steps
        told = rows
        if not own_steps:
            if until is not None and (over := rows.steps >= until).any():
                told = rows.picked(~over)
                tally.superseded += rows.values.size - told.values.size
            tally.note_late(generation, told)
        if len(told.steps):
            tally.journaled += told.values.size
            tally.late += told.values.size
            items += _told(metrics, told, rank, World(world, generation), revision=not own_steps)
    return items


def _told(metrics: Metrics, rows: Rows, rank: int, where: World, *, revision: bool) -> Iterable[Item]:
    for group in metrics.groups(rows.names):
        part = group.of(rows)
        if group.spec.reductions:
            yield from plain(group.spec, part, rank, where, revision=revision)
        else:
            yield of_rank(group.spec, metrics.rank_series(part.names, rank), part, where)
