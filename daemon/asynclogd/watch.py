"""Which call of a backend is going on, and since when: one that hangs can't be ended, but it is seen and told of."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from asynclogd.incidents import about
from asynclogd.stages import Stage

log = logging.getLogger(__name__)


class Watch:
    """One thread calls, any thread looks; `tell` is for one of them."""

    def __init__(
        self,
        name: str = "",
        limit: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
        run: str = "",
    ) -> None:
        """`limit`: a call of the backend `name` of `run` (project/name) that takes longer, in s, has timed out."""
        self._name, self._limit, self._clock, self._run = name, limit, clock, run
        self._current: tuple[str, float] | None = None
        self._told: tuple[str, float] | None = None
        self._late = 0
        self.stages: dict[str, Stage] = {}
        """by call"""

    @contextmanager
    def during(self, call: str) -> Iterator[None]:
        """The backend is in this call."""
        began = self._clock()
        self._current = call, began
        try:
            yield
        finally:
            self._current, took = None, self._clock() - began
            self.stages.setdefault(call, Stage()).add(took)
            if took > self._limit:
                self._late += 1
                told = about("call-came-back", run=self._run, backend=self._name, cause=call)
                log.warning("%s: its %s has come back, after %.0f s", self._name, call, took, extra=told)

    @property
    def going_on(self) -> tuple[str, float]:
        """The call, "" for none, and for how many s."""
        current = self._current
        return ("", 0.0) if current is None else (current[0], self._clock() - current[1])

    @property
    def hangs(self) -> bool:
        """Whether the call that goes on has timed out."""
        return self.going_on[1] > self._limit

    @property
    def timeouts(self) -> int:
        """Calls that took longer than they may, the one that goes on too."""
        return self._late + self.hangs

    def tell(self) -> None:
        """Log a call that hangs, once."""
        current = self._current
        if current is not None and current != self._told and self.hangs:
            self._told = current
            text = "%s: its %s hangs: it has been going on for more than %g s; other backends go on"
            told = about("call-hangs", run=self._run, backend=self._name, cause=current[0])
            log.error(text, self._name, current[0], self._limit, extra=told)
