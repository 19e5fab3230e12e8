"""What became of a run's values, as `finish` returns it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field, replace
from typing import Any

from asynclog_proto.frozen import frozen


@frozen
class BackendLedger:
    """Counts of values: issued to the journal = delivered + limited + dead + pending."""

    delivered: int
    limited: int
    dead: int
    pending: int


@frozen
class Ledger:
    """Counts of logged values: issued = journaled + pending + dropped, of the run where a daemon answered, else of
    this rank. `complete`: all that this rank said is journaled and in the local file backends.
    """

    complete: bool
    issued: int
    journaled: int
    pending: int
    dropped: Mapping[str, int] = field(default_factory=dict)
    backends: Mapping[str, BackendLedger] = field(default_factory=dict)
    spool: str = ""
    """where records wait for `asynclog sync`, "" when none do"""

    def with_late_drops(self, dropped: Mapping[str, int]) -> Ledger:
        """The same with what was dropped after the daemon told it: `log()` after `finish()`. `dropped` are this
        rank's by now.
        """
        late = dropped.get("after_finish", 0) - self.dropped.get("after_finish", 0)
        if late <= 0:
            return self
        return replace(self, issued=self.issued + late, dropped={**self.dropped, "after_finish": late})

    def __str__(self) -> str:
        lost = "".join(f", {count} dropped ({cause})" for cause, count in self.dropped.items())
        lines = [f"{self.issued} values: {self.journaled} journaled, {self.pending} pending{lost}"]
        if self.backends:
            width = max(map(len, self.backends))
            lines.append(f"  {'':{width}}  delivered    limited       dead    pending")
            lines += [
                f"  {name:{width}} {row.delivered:10} {row.limited:10} {row.dead:10} {row.pending:10}"
                for name, row in self.backends.items()
            ]
        return "\n".join(lines)


def of_rank(issued: int, dropped: Mapping[str, int], spool: str) -> Ledger:
    """A rank's own, where no daemon told the run's: with `spool`, its records wait there, else all are journaled."""
    lost = {cause: count for cause, count in dropped.items() if count}
    kept = issued - sum(lost.values())
    journaled = 0 if spool else kept
    return Ledger(False, issued, journaled, kept - journaled, lost, {}, spool)


def from_daemon(complete: bool, told: Mapping[str, Any]) -> Ledger:
    """A ledger from a daemon's message; what a later daemon does not say counts as 0."""
    backends = {
        str(name): BackendLedger(*(_count(row, key) for key in ("delivered", "limited", "dead", "pending")))
        for name, row in _mapping(told, "backends").items()
        if isinstance(row, Mapping)
    }
    return Ledger(
        complete=complete,
        issued=_count(told, "issued"),
        journaled=_count(told, "journaled"),
        pending=_count(told, "in_transit"),
        dropped={str(cause): int(count) for cause, count in _mapping(told, "dropped").items() if count},
        backends=backends,
    )


def _count(row: Mapping[str, Any], key: str) -> int:
    value = row.get(key, 0)
    return value if isinstance(value, int) else 0


def _mapping(told: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = told.get(key)
    return value if isinstance(value, Mapping) else {}
