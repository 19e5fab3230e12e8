"""What ranks have logged, told in the most obvious way, and whether a run holds exactly that."""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from asynclogd.entries import DeadLetter
from asynclogd.points import Item, Points, Rewind, RunEnd

Key = tuple[str, int]
"""A series and a step."""


class Value(NamedTuple):
    """One logged value."""

    rank: int
    value: float


class Logged:
    """The values of each launch that was begun. `outlived` are those of which ranks lived on when the next one began:
    what they say since is told late or not at all.
    """

    def __init__(self, world: int) -> None:
        self.world = world
        self.generations: list[dict[Key, list[Value]]] = []
        self.outlived: set[int] = set()
        self.count = self.dropped = 0

    def begin(self, living: set[int]) -> None:
        """A launch that supersedes the one before; of `living` ones ranks still log."""
        self.outlived |= living
        self.generations.append(defaultdict(list))

    def take(self, launch: int, rank: int, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.generations[launch][name, step].append(Value(rank, value))
        self.count += len(values)

    def top(self, generations: int | None = None) -> int | None:
        """The highest step of the first so many generations."""
        return max((step for each in self.generations[:generations] for _, step in each), default=None)

    def check(self, items: Sequence[Item], joined: Sequence[int]) -> None:
        """That these items, in their order, say what was logged: each value once, reduced rightly. `joined` are the
        launches as the run has counted them.
        """
        heard = [launch for launch in joined if self.generations[launch]]
        assert heard == [launch for launch, values in enumerate(self.generations) if values]
        told, rewinds = fold(items, alone=self.world == 1)
        assert told.keys() <= set(range(len(joined)))
        for number, launch in enumerate(joined):
            wanted = {key: self._reduced(key[0], each) for key, each in self.generations[launch].items()}
            found = told.get(number, {})
            missing, foreign = wanted.keys() - found.keys(), found.keys() - wanted.keys()
            assert not foreign, f"generation {number}: {sorted(foreign)[:5]} were never logged"
            if launch in self.outlived:
                continue
            assert not missing, f"generation {number}: {sorted(missing)[:5]} are missing"
            for key, want in wanted.items():
                assert repr(found[key]) == repr(want), f"generation {number}, {key}: {found[key]}, not {want}"
        if self.outlived:
            check_view(items, newest=len(joined) - 1)
        else:
            self._check_rewinds([self.generations[launch] for launch in heard], rewinds)

    def _reduced(self, name: str, values: list[Value]) -> Any:
        if self.world == 1:
            return sorted((repr(each.value), 1) for each in values)
        numbers = [each.value for each in values]
        if name == "hi":
            kept = [number for number in numbers if not math.isnan(number)]
            reduced = math.nan if len(kept) < len(numbers) else max(kept)
        else:
            reduced = sum(numbers) / len(numbers)
        return reduced, len({each.rank for each in values})

    def _check_rewinds(self, generations: list[dict[Key, list[Value]]], rewinds: dict[int, int]) -> None:
        """Each generation that goes back says so once, by a step of its own that is no later than what it undoes."""
        highest = -math.inf
        told = list(rewinds.values())
        for values in generations:
            steps = {step for _, step in values}
            if min(steps) > highest:
                highest = max(steps)
                continue
            if max(steps) <= highest or (told and told[0] in steps and told[0] <= highest):
                assert told, f"no rewind for {sorted(steps)[:5]} below {highest}"
                assert told.pop(0) in steps
            highest = max(highest, *steps)
        assert not told, f"rewinds {told} of nothing"


def check_view(items: Iterable[Item], newest: int) -> None:
    """That who takes the items in their order has nothing of older generations where the newest one has something, nor
    beyond the step from which on it supersedes them. Where it has logged nothing, it supersedes nothing.
    """
    view: dict[Key, int] = {}
    begins = math.inf
    kept: set[Key] = set()
    for item in items:
        if isinstance(item, Rewind):
            view = {key: generation for key, generation in view.items() if key[1] < item.step}
        elif isinstance(item, Points):
            keys = [(name, step) for step in item.steps.tolist() for name in item.names]
            view.update(dict.fromkeys(keys, item.generation))
            if item.generation == newest:
                begins = min(item.steps.tolist()) if begins == math.inf else begins
                kept.update(keys)
    stale = [key for key, generation in view.items() if generation != newest and (key in kept or key[1] >= begins)]
    assert not stale, f"older generations are seen at {sorted(stale)[:5]}"


def fold(items: Iterable[Item], *, alone: bool) -> tuple[dict[int, dict[Key, Any]], dict[int, int]]:
    """By generation, what a reader has who takes the items in their order: {(name, step): (value, ranks)}; and the
    step to which each generation has rewound the run. With `alone` nothing is reduced, and all values count.
    """
    told: dict[int, dict[Key, Any]] = defaultdict(dict)
    rewinds: dict[int, int] = {}
    for item in items:
        if isinstance(item, Rewind):
            assert item.generation not in rewinds, f"generation {item.generation} rewinds twice"
            rewinds[item.generation] = item.step
        if not isinstance(item, Points):
            continue
        table = told[item.generation]
        for row, step in enumerate(item.steps.tolist()):
            for column, name in enumerate(item.names):
                value, ranks = float(item.values[row, column]), int(item.ranks[row, column])
                key = (name, step)
                if alone:
                    table[key] = sorted([*table.get(key, []), (repr(value), ranks)])
                    continue
                assert key not in table or item.revision, f"{key} is told twice and not as a revision"
                table[key] = value, ranks
    return told, rewinds


def written(items: Iterable[tuple[int, Item]], dead: Sequence[DeadLetter]) -> list[Any]:
    """What the file of lines has to hold of these items, line by line."""
    refused = {letter.offset for letter in dead}
    lines: list[Any] = []
    for offset, item in items:
        if offset in refused:
            continue
        if isinstance(item, Points):
            for _, (step, _, values) in enumerate(item.rows()):
                lines.append((step, {name: repr(value) for name, value in zip(item.names, values, strict=True)}))
        elif isinstance(item, Rewind):
            lines.append({"rewind": item.step, "generation": item.generation})
        elif isinstance(item, RunEnd):
            lines.append({"end": item.status})
    return lines


def read(path: Path) -> list[Any]:
    """What the file holds, in the same form."""
    lines: list[Any] = []
    for line in path.read_text().splitlines():
        entry = json.loads(line)
        if "metrics" in entry:
            lines.append((entry["step"], {name: repr(float(value)) for name, value in entry["metrics"].items()}))
        else:
            lines.append(entry)
    return lines
