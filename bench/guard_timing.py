"""The guard's ratios and sizes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from guard_work import CALLS, NAMES, STEPS_OF_A_TABLE, TABLES, Batches, EventFile, FreshRings, Work, seconds
from ingest import Daemon

ROUNDS = 5
COMMITS = 20


def ratios(works: Sequence[Work], budget_s: float) -> list[float]:
    """CPU of each piece over its floor's, each the least of all turns, `budget_s` seconds or a little more for each.

    The least is what the machine does when nothing disturbs it; the rounds give a bad second time to pass.
    """
    ours, floors = [float("inf")] * len(works), [float("inf")] * len(works)
    for _ in range(ROUNDS):
        for number, work in enumerate(works):
            end = time.monotonic() + budget_s / ROUNDS
            while time.monotonic() < end:
                given = work.prepare()
                ours[number] = min(ours[number], seconds(work.ours, given))
                floors[number] = min(floors[number], seconds(work.floor, given))
    return [own / floor for own, floor in zip(ours, floors, strict=True)]


def sizes(folder: Path) -> dict[str, float]:
    """Bytes a value in the ring, in the journal and in an event file."""
    folder.mkdir()
    rings = FreshRings()
    return {
        "a value in the ring, 10 names": rings.calls(rings.ready()) / (CALLS * NAMES),
        "a value in the journal, 10 names": _journal_bytes(folder / "journal.sqlite"),
        "a point in an event file": _event_bytes(folder),
    }


def _journal_bytes(path: Path) -> float:
    daemon, batches = Daemon(path), Batches(1_100)
    for _ in range(COMMITS):
        number, messages = batches()
        daemon.take(messages, float(number))
    daemon.close()
    return path.stat().st_size / daemon.logged


def _event_bytes(folder: Path) -> float:
    file = EventFile(folder)
    before = file.size
    file.write(file())
    written = file.size - before
    file.backend.close("success")
    return written / (TABLES * STEPS_OF_A_TABLE * NAMES)
