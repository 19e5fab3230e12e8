"""In which order the processes of a run began: by a file that they write to, for clocks are set and differ."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from asynclog_proto import places

MOST_BYTES = 4 << 20
"""So much of the file's end is read: some 200,000 processes."""

APART = 1e-5
"""s: so long after each other they began at least, which float64 can tell of times since 1970"""


def order(run_dir: Path) -> list[str]:
    """The incarnations of processes, first one first; empty where nothing tells."""
    try:
        fd = os.open(places.begun_path(run_dir), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(fd, "rb") as file:
            file.seek(max(0, os.fstat(fd).st_size - MOST_BYTES))
            lines = file.read(MOST_BYTES).split(b"\n")
    except OSError:
        return []
    return list(dict.fromkeys(line.decode(errors="replace") for line in lines if line))


def overtaken(incarnation: str, others: Mapping[str, float], order: Sequence[str]) -> float | None:
    """When a process began that says hello only now, though `others` of its rank, which began then, are after it in
    their order: before the first of them. None where it is the last one, as most are, or nothing tells.
    """
    after = order[order.index(incarnation) :] if incarnation in order else ()
    later = [others[each] for each in after if each in others]
    return min(later) - APART if later else None


def settled(began: Mapping[str, float], known: Mapping[str, float], order: Iterable[str]) -> dict[str, float]:
    """When processes `began`, moved as little as their order asks for. It is `known` when others did, and that stays.
    Whoever is not in the order, or has left no row, is told as before.
    """
    ordered = [each for each in order if each in known or math.isfinite(began.get(each, math.inf))]
    moved, next_known = dict(began), math.inf
    for each in reversed(ordered):
        next_known = min(next_known - APART, known.get(each, math.inf))
        if each not in known:
            moved[each] = min(moved[each], next_known)
    latest = -math.inf
    for each in ordered:
        if each not in known:
            moved[each] = max(moved[each], latest + APART)
        latest = max(latest, known[each] if each in known else moved[each])
    return moved
