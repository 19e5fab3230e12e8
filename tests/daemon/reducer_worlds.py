"""Random worlds for the reducer: what ranks might say and suffer, as calls of its interface."""

from __future__ import annotations

import random
from typing import Any

import numpy as np

from asynclog_proto.records import Define, End, Hold, Pass
from asynclogd.rows import Rows

Call = tuple[str, tuple[Any, ...]]
"""A method of the reducer and its arguments."""

DEFINES = [
    Define("lo*", ("min", "mean", "std"), per_rank=False),
    Define("all", ("sum", "max", "first", "last"), per_rank=True),
    Define("own", ("none",)),
]
LAYOUTS = [("a", "b", "c"), ("a", "lo"), ("all", "own", "lo2"), ("d",), ("c", "e", "all")]


def rows(
    names: tuple[str, ...], steps: list[int], dice: random.Random, *, odd: float = 0.05, time: float = 0.0
) -> Rows:
    """Rows with random times, weights and values, some of which are NaN or infinite."""
    values = [
        [dice.choice([np.nan, np.inf, -np.inf]) if dice.random() < odd else dice.gauss(0, 10) for _ in names]
        for _ in steps
    ]
    weighted = dice.random() < 0.3
    return Rows(
        names,
        np.array(steps, np.int64),
        np.array([time + dice.choice([0.0, 0.5, dice.random()]) for _ in steps]),
        np.array([dice.choice([0.5, 1.0, 2.0]) if weighted else 1.0 for _ in steps]),
        np.array(values, np.float64).reshape(len(steps), len(names)),
    )


def world(seed: int, calls: int = 60) -> list[Call]:
    """A run: joins, rows in and out of order, deaths, restarts, silence, resizes."""
    dice = random.Random(seed)
    made: list[Call] = []
    now, launch, size = 0.0, 0, dice.choice([1, 2, 3, 4, 9, 70])
    at: dict[int, int] = {}
    joined: set[tuple[int, int]] = set()

    def join(rank: int) -> None:
        made.append(("join", (rank, size, f"launch{launch}", now)))
        joined.add((launch, rank))
        at.setdefault(rank, 0)

    for rank in range(size):
        if rank < 5 or dice.random() < 0.9:
            join(rank)
    for _ in range(calls):
        now += dice.choice([0.0, 0.01, 0.1, 1.0, 7.0 if dice.random() < 0.3 else 0.2])
        what = dice.random()
        of, rank = dice.choice(sorted(joined)) if what < 0.05 else (launch, 0)
        current = [number for generation, number in sorted(joined) if generation == launch][:6]
        if what >= 0.05:
            rank = dice.choice(current)
        if what < 0.78:
            made.append(("feed", (rank, f"launch{of}", _said(rank, at, dice, now), now)))
        elif what < 0.80:
            end = [*_said(rank, at, dice, now), End(dice.choice(["success", "failed"]))]
            made.append(("feed", (rank, f"launch{launch}", end, now)))
        elif what < 0.83:
            made.append(("leave", (rank, f"launch{launch}", now)))
        elif what < 0.87:
            join(dice.randrange(size))
        elif what < 0.985:
            now += dice.choice([0.0, 5.0, 31.0 if dice.random() < 0.4 else 1.0])
            made.append(("advance", (now,)))
        else:
            launch += 1
            size = dice.choice([1, 2, 4, 70])
            begin = dice.choice([0, max(at.values(), default=0) // 2, max(at.values(), default=0) + 5])
            at.clear()
            for each in range(min(size, 5)):
                join(each)
                at[each] = begin
    return made


def _said(rank: int, at: dict[int, int], dice: random.Random, now: float) -> list[Any]:
    said: list[Any] = []
    for names in dice.sample(LAYOUTS, dice.randint(1, 3)):
        count = dice.randint(1, 6)
        step = at.get(rank, 0)
        kind = dice.random()
        if kind < 0.6:
            steps = list(range(step, step + count))
        elif kind < 0.8:
            steps = sorted(dice.choices(range(step, step + 6), k=count))
        else:
            steps = [max(-3, step + dice.randint(-8, 4)) for _ in range(count)]
        said.append(rows(names, steps, dice, time=now))
    at[rank] = max([at.get(rank, 0), *(int(table.steps.max()) + dice.randint(0, 1) for table in said)])
    if dice.random() < 0.3:
        said.insert(dice.randint(0, len(said)), Pass(at[rank] - dice.randint(0, 3)))
    if dice.random() < 0.2:
        said.insert(dice.randint(0, len(said)), Hold(dice.choice([None, None, at[rank] - dice.randint(-1, 3)])))
    return said
