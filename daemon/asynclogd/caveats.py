"""What a run drops, said in the daemon's log: what a newer launch supersedes each time, a cap that is reached once."""

from __future__ import annotations

import logging

from asynclogd.incidents import about
from asynclogd.store import Outcome
from asynclogd.superseded import CAUSE
from asynclogd.tally import MOST_FACT_BYTES

log = logging.getLogger(__name__)


class Caveats:
    """Those of one run, since this daemon has it open."""

    def __init__(self, title: str, max_names: int) -> None:
        self._title, self._max_names = title, max_names
        self._superseded: int | None = None
        """values that were dropped for that by the last commit"""
        self._told: set[str] = set()

    def tell(self, outcome: Outcome) -> None:
        """A commit is done."""
        self._tell_of_superseded(outcome.dropped.get(CAUSE, 0))
        if outcome.excess:
            text = f"it has {self._max_names} different names, as many as it may (daemon.max_names)"
            self._tell_once("names-full", f"{text}: values of others are dropped, of {outcome.excess!r} for one")
        if outcome.facts_dropped:
            text = f"its params and summary take {MOST_FACT_BYTES >> 20} MiB, as much as they may: others are dropped"
            self._tell_once("facts-full", text)

    def _tell_of_superseded(self, count: int) -> None:
        new = 0 if self._superseded is None else count - self._superseded
        self._superseded = count
        if new:
            text = (
                "run %s: %d values of an earlier launch are dropped and counted (superseded): a newer one has begun "
                "to log these steps. End the earlier one, or give one of them another name"
            )
            log.warning(text, self._title, new, extra=about("superseded", run=self._title, cause=CAUSE, count=new))

    def _tell_once(self, incident: str, text: str) -> None:
        if incident not in self._told:
            self._told.add(incident)
            log.warning("run %s: %s", self._title, text, extra=about(incident, run=self._title))
