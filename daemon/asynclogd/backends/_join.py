"""Tables of the same series as one: what NumPy does costs by the call, and in a quiet run a table has one step."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from asynclogd.points import Item, Points


def joined(items: Iterable[Item]) -> Iterator[Item]:
    """The items in their order, tables that follow each other joined where they can be, empty ones left out.
    `logged` and `holders` are not kept.
    """
    run: list[Points] = []
    for item in items:
        if isinstance(item, Points) and (not run or _alike(run[0], item)):
            if len(item):
                run.append(item)
            continue
        yield from _one(run)
        run = []
        if not isinstance(item, Points):
            yield item
        elif len(item):
            run.append(item)
    yield from _one(run)


def _alike(one: Points, other: Points) -> bool:
    return (
        one.names == other.names
        and (one.world, one.revision, one.generation) == (other.world, other.revision, other.generation)
    )  # fmt: skip


def _one(run: list[Points]) -> Iterator[Points]:
    if len(run) < 2:
        yield from run
        return
    ranks = np.concatenate([table.ranks for table in run])
    yield Points(
        names=run[0].names,
        steps=np.concatenate([table.steps for table in run]),
        times=np.concatenate([table.times for table in run]),
        values=np.concatenate([table.values for table in run]),
        ranks=ranks,
        logged=ranks,
        world=run[0].world,
        generation=run[0].generation,
        revision=run[0].revision,
    )
