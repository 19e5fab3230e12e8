"""How a sink is: its status, one frozen picture after the other, and how long to wait after a failure. No thread."""

from __future__ import annotations

import logging
import random
from dataclasses import replace

from asynclogd.backends.base import ThrottledError
from asynclogd.delivery import BrokenError, SinkSettings, SinkStatus
from asynclogd.entries import Cursor
from asynclogd.incidents import about

log = logging.getLogger(__name__)

LONGEST_ASKED = 3600.0
"""s: a service that asks for more is tried again all the same"""


class Health:
    """Written by the sink's thread alone; `status` is replaced as a whole, so any thread may read it."""

    def __init__(self, name: str, cursor: Cursor, settings: SinkSettings, run: str = "") -> None:
        """Of the backend `name` of `run`, project/name."""
        self.status = SinkStatus("ok", cursor, 0)
        self._name, self._settings, self._run = name, settings, run
        self._furthest = cursor.offset
        self._in_vain = 0
        """how often it has started over without coming further than before"""
        self._jitter = random.Random()  # noqa: S311 - spreads retries, keeps no secret

    def failed(self, error: BaseException) -> float:
        """Something went wrong; s to wait before it is tried again. The log is told once, until all is well again."""
        before, text = self.status, describe(error)
        if not before.retries:
            told = about("backend-fails", run=self._run, backend=self._name, cause=error)
            log.warning("%s: %s; trying again until it works", self._name, text, extra=told)
        broken = isinstance(error, BrokenError)
        self.status = replace(
            before,
            state="broken" if broken else "retrying",
            retries=before.retries + 1,
            failures=before.failures + 1,
            error=text,
        )
        if isinstance(error, ThrottledError) and error.retry_after is not None:
            return self._asked_for(error.retry_after)
        return self._backoff(60 if broken else before.retries)

    def starts_over(self, error: BaseException) -> float:
        """Nothing counts from here on; s to wait before it begins again: longer each time that this leads nowhere."""
        before = self.status
        told = about("backend-starts-over", run=self._run, backend=self._name, cause=error)
        text = "%s: it begins anew and is offered everything once more: %s"
        log.warning(text, self._name, describe(error), extra=told)
        self.status = SinkStatus(
            "retrying",
            Cursor(),
            0,
            retries=before.retries + 1,
            failures=before.failures + 1,
            error=describe(error),
            started_over=before.started_over + 1,
        )
        self._in_vain += 1
        return self._backoff(self._in_vain - 1)

    def _backoff(self, doublings: int) -> float:
        delay = self._settings.first_retry * 2.0 ** min(doublings, 60)
        return min(self._settings.longest_retry, delay) * self._jitter.uniform(0.5, 1.0)

    def _asked_for(self, retry_after: float) -> float:
        """As long as the service asks, and no sooner; a little more at random, for it asks many at once."""
        return min(max(0.0, retry_after), LONGEST_ASKED) * self._jitter.uniform(1.0, 1.1)

    def went_well(self) -> None:
        """What failed before works again, if anything did."""
        if self.status.retries:
            told = about("backend-works", run=self._run, backend=self._name, count=self.status.retries)
            log.warning("%s: works again after %d failures", self._name, self.status.retries, extra=told)
            self.status = replace(self.status, state="ok", retries=0)

    def opened(self, held: int) -> None:
        """The backend is open at the cursor, and the limiter restored, which holds so many logged values."""
        self.status = replace(self.status, held=held)

    def moved(self, cursor: Cursor, held: int, dead_letters: int, unsupported: int) -> None:
        """The cursor is journaled. `dead_letters` and `unsupported` were met on the way to it."""
        before = self.status
        if cursor.offset > self._furthest:
            self._furthest, self._in_vain = cursor.offset, 0
        self.status = replace(
            before,
            cursor=cursor,
            held=held,
            dead_letters=before.dead_letters + dead_letters,
            unsupported=before.unsupported + unsupported,
        )

    def closed(self) -> None:
        """The sink has ended."""
        self.status = replace(self.status, state="closed")


def describe(error: BaseException) -> str:
    """An error in one line."""
    text = " ".join(words(error).split())[:300]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def words(error: BaseException) -> str:
    """What an error says, "" where asking fails. Lone surrogates, which neither the journal nor a message can hold, are
    spelt as \\udc80.
    """
    try:
        return str(error).encode("utf-8", "backslashreplace").decode()
    except BaseException:  # whatever an SDK's __str__ raises: nobody else is there to go on
        return ""
