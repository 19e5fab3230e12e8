"""What a line of the daemon's log is about, and which lines of a storm are shown. Pure: no clock, no output.

A call of a logger tells it by `extra=about("journal-refuses", run="p/r", cause=error)`. Lines of one kind, which is an
incident of a run and a backend, are shown once and then counted, so that a peer or a service that fails a thousand
times a second fills no disk.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

FIRST_PERIOD, LONGEST_PERIOD = 10.0, 600.0
"""s: so long after a line its kind is counted; twice as long each time that there was something to count"""

MOST_KINDS = 1000
"""Kinds that are told apart at once; what comes beyond them shares a line."""


@dataclass(frozen=True, slots=True)
class About:
    """One incident: of which run (project/name), rank and backend, the error's type or another cause, and how many
    things it counts. "" and None are for what does not apply.
    """

    incident: str
    run: str = ""
    rank: int | None = None
    backend: str = ""
    cause: str = ""
    count: int = 1

    @property
    def kind(self) -> tuple[str, str, str]:
        """What lines have in common that are counted together."""
        return self.incident, self.run, self.backend


def about(
    incident: str, *, run: str = "", rank: int | None = None, backend: str = "", cause: object = "", count: int = 1
) -> dict[str, Any]:
    """The `extra` of a logger's call; the `cause` of an error is its type."""
    named = cause if isinstance(cause, str) else type(cause).__name__
    return {"about": About(incident, run, rank, backend, named, count)}


def of(record: logging.LogRecord) -> About:
    """What a line is about; of one that does not say so (an SDK's), its logger and its text before the arguments."""
    told = getattr(record, "about", None)
    return told if isinstance(told, About) else About(f"{record.name}: {record.msg}")


@dataclass(slots=True)
class _Storm:
    until: float
    period: float
    count: int = 0
    last: logging.LogRecord | None = None


class Storms:
    """Which lines are shown; times are monotonic seconds. Not safe for threads."""

    def __init__(self) -> None:
        self._open: dict[tuple[str, str, str], _Storm] = {}

    def shows(self, record: logging.LogRecord, now: float) -> bool:
        """Whether a line is shown now; else it is counted, and `over` tells of it. Below a warning all are shown."""
        if record.levelno < logging.WARNING:
            return True
        told = of(record)
        kind = told.kind
        if kind not in self._open and len(self._open) >= MOST_KINDS:
            self._open = {each: storm for each, storm in self._open.items() if storm.count or now < storm.until}
            kind = kind if len(self._open) < MOST_KINDS else ("", "", "")
        storm = self._open.get(kind)
        if storm is None or (not storm.count and now >= storm.until):
            self._open[kind] = _Storm(now + FIRST_PERIOD, FIRST_PERIOD)
            return True
        storm.count, storm.last = storm.count + told.count, record
        return False

    def over(self, now: float) -> list[logging.LogRecord]:
        """The lines that tell how many more there were, of the kinds whose period is over."""
        lines = []
        for kind, storm in [(kind, storm) for kind, storm in self._open.items() if now >= storm.until]:
            if storm.last is None:
                del self._open[kind]
                continue
            lines.append(_more(storm))
            longer = min(2 * storm.period, LONGEST_PERIOD)
            self._open[kind] = _Storm(now + longer, longer)
        return lines

    @property
    def counting(self) -> bool:
        """Whether `over` will have a line to tell."""
        return any(storm.count for storm in self._open.values())


def _text(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:  # an SDK's line whose arguments are not what it says
        return str(record.msg)


def _more(storm: _Storm) -> logging.LogRecord:
    """The last line of a storm, which tells of those that were not shown."""
    assert storm.last is not None
    line = logging.makeLogRecord(storm.last.__dict__)
    told = of(storm.last)
    line.about = About(told.incident, told.run, told.rank, told.backend, told.cause, storm.count)
    line.msg = f"{_text(storm.last)} ({storm.count:,} more like it in {storm.period:.0f} s)"
    line.args = None
    return line
