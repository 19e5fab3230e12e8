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
    """The values of each generation, in the order of launches."""

    def __init__(self, world: int) -> None:
        self.world = world
        self.generations: list[dict[Key, list[Value]]] = []
        self.count = self.dropped = 0

    def begin(self) -> None:
        """A launch that supersedes the one before."""
        self.generations.append(defaultdict(list))

    def take(self, rank: int, values: dict[str, float], step: int) -> None:
        for name, value in values.items():
            self.generations[-1][name, step].append(Value(rank, value))
        self.count += len(values)

    def top(self, generations: int | None = None) -> int | None:
        """The highest step of the first so many generations."""
        return max((step for each in self.generations[:generations] for _, step in each), default=None)

    def check(self, items: Sequence[Item]) -> None:
        """That these items, in their order, say what was logged: each value once, reduced rightly."""
        told, rewinds = fold(items, alone=self.world == 1)
        joined = self._joined(told)
        for number, values in joined.items():
            wanted = {key: self._reduced(key[0], each) for key, each in values.items()}
            found = told.get(number, {})
            missing, foreign = wanted.keys() - found.keys(), found.keys() - wanted.keys()
            assert not missing, f"generation {number}: {sorted(missing)[:5]} are missing"
            assert not foreign, f"generation {number}: {sorted(foreign)[:5]} were never logged"
            for key, want in wanted.items():
                assert repr(found[key]) == repr(want), f"generation {number}, {key}: {found[key]}, not {want}"
        self._check_rewinds(list(joined.values()), rewinds)

    def _joined(self, told: dict[int, Any]) -> dict[int, dict[Key, list[Value]]]:
        """Generations as the run counts them: a launch that nobody has heard of is none."""
        heard = [each for each in self.generations if each]
        numbers = sorted(told)
        assert len(numbers) == len(heard), f"generations {numbers} of {len(heard)} that logged"
        return dict(zip(numbers, heard, strict=True))

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
