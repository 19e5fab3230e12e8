"""The ledger: what became of every value that a run's ranks logged.

issued  = journaled + in transit + dropped by cause (`lost`: in records that went away before they were journaled here;
`media_refused`: images and the like that can't be encoded, dead letters of "media"; `superseded`: a newer launch had
begun to log their steps; `names_full`: their name was one too many)
journaled = delivered + pending + rate-limited + dead-lettered     for each backend
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from asynclog_proto.limits import SEQ_END
from asynclogd.entries import Cursor, Stream

MOST = SEQ_END - 1
"""Counts of ranks are not checked against anything: what they add up to still has to fit an answer."""

LOST = "lost"
"""The cause of values whose records went away: a deleted spool segment, a journal that is gone."""


def balance(
    streams: Iterable[Stream],
    host_values: int,
    journaled: int,
    cursors: Mapping[str, Cursor],
    dropped_here: Mapping[str, int] | None = None,
) -> dict[str, Any]:
    """The ledger of a run, as plain values. Counts are of logged values.

    `host_values` are the daemon's own, issued and journaled at once. `dropped_here` were dropped by the daemon, by
    cause, after their records had come in: they don't count as journaled. A rank that has not reported lately may have
    issued more than it said: then it counts as having issued what is journaled. Of lost records the values are not
    known: they are what is missing when every rank has gone, and one for each record while ranks go on, or when nothing
    is missing and a rank has gone without saying what it had issued.
    """
    dropped: Counter[str] = Counter(dropped_here or {})
    reported = lost_records = 0
    over = told = True
    for stream in streams:
        lost_records += stream.lost
        over, told = over and stream.state != "live", told and stream.state == "ended"
        reported += stream.issued
        dropped.update({cause: count for cause, count in stream.dropped.items() if count})
    if lost_records:
        missing = reported + host_values - journaled - dropped.total()
        dropped[LOST] += max(0, missing) if told or (over and missing > 0) else lost_records
    issued = max(reported + host_values, journaled + dropped.total())
    return {
        "issued": min(issued, MOST),
        "host": host_values,
        "journaled": journaled,
        "in_transit": min(issued - journaled - dropped.total(), MOST),
        "dropped": {cause: min(count, MOST) for cause, count in dropped.items()},
        "backends": {name: _backend(cursor, journaled) for name, cursor in cursors.items()},
    }


def _backend(cursor: Cursor, journaled: int) -> dict[str, int]:
    return {
        "delivered": cursor.delivered,
        "pending": journaled - cursor.delivered - cursor.limited - cursor.dead,
        "limited": cursor.limited,
        "dead": cursor.dead,
        "points": cursor.points,
    }
