"""The cap of a run's journal: at it, what comes in waits with the ranks as it does for a full disk.

It holds until the run is opened again. A file may shrink by a few MiB, but a daemon that went on by itself would apply
what waits hours later than it came, behind the deadlines of its steps.
"""

from __future__ import annotations

import logging

from asynclogd.incidents import about

log = logging.getLogger(__name__)

NEAR = 0.9
"""of the cap: said once, so that there is time to do something"""


class JournalCap:
    """Of one run, since this daemon has it open."""

    def __init__(self, run: str, most_mb: int) -> None:
        self.full = ""
        """why nothing more is taken, "" while there is room"""
        self._run, self._most_mb = run, most_mb
        self._told_near = False

    def weigh(self, journal_bytes: int) -> None:
        """A commit is done, and the journal has so many bytes on disk."""
        if self.full:
            return
        share = journal_bytes / (self._most_mb << 20)
        if share >= 1:
            self._fill(journal_bytes)
        elif share >= NEAR and not self._told_near:
            self._told_near = True
            text = "run %s: the journal has %.0f%% of the %d MiB that it may have (daemon.max_journal_mb)"
            log.warning(text, self._run, 100 * share, self._most_mb, extra=about("journal-nearly-full", run=self._run))

    def _fill(self, journal_bytes: int) -> None:
        self.full = (
            f"it has {journal_bytes / (1 << 20):.0f} MiB, as much as it may (daemon.max_journal_mb): what ranks log "
            f"waits with them. Restart the daemon with a larger cap, or log to a new run"
        )
        told = about("journal-full", run=self._run)
        log.error("run %s: the journal refuses: %s", self._run, self.full, extra=told)
