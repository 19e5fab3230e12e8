"""What the ranks of a launch still log when a newer one has begun. Pure.

The newer launch supersedes the run from its lowest step on, so rows of that step and later ones are not told: they are
counted, and never stand in the place of what the newer one has said. Rows of lower steps are told as they are, as are
steps of a lane's own, which supersede nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from asynclog_proto.records import Define
from asynclogd.metrics import Metrics
from asynclogd.points import Item
from asynclogd.rows import Rows
from asynclogd.tabulate import World, of_rank, plain
from asynclogd.tally import Tally

CAUSE = "superseded"
"""The cause of values of steps that a newer launch had begun to log."""


class Outlived(NamedTuple):
    """The launch before the newest, whose ranks may still log: its generation, and what it has defined."""

    generation: int
    metrics: Metrics

    def of(self, generation: int, newest: Metrics) -> Metrics:
        """What holds for an older generation: the newest's defines where its own are forgotten."""
        return self.metrics if generation == self.generation else newest


def feed(tally: Tally, metrics: Metrics, rank: int, launch: str, decoded: Iterable[Any]) -> list[Item]:
    """What is told of this, which a rank of an older launch has said."""
    generation, world = tally.launches[launch]
    until = tally.superseded_from(generation)
    items: list[Item] = []
    for rows in decoded:
        if isinstance(rows, Define):
            metrics.define(rows)
        if not isinstance(rows, Rows):
            continue
        own_steps = metrics.ways(rows.names).lane.own_steps
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
    for group in metrics.ways(rows.names).groups:
        part = group.of(rows)
        if group.spec.reductions:
            yield from plain(group.spec, part, rank, where, revision=revision)
        else:
            yield of_rank(group.spec, metrics.rank_series(part.names, rank), part, where)
