"""Which call of a backend is going on, and since when: one that hangs can't be ended, but it can be seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Watch:
    """One thread calls, any thread looks."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._current: tuple[str, float] | None = None

    @contextmanager
    def during(self, call: str) -> Iterator[None]:
        """The backend is in this call."""
        self._current = call, self._clock()
        try:
            yield
        finally:
            self._current = None

    @property
    def going_on(self) -> tuple[str, float]:
        """The call, "" for none, and for how many s."""
        current = self._current
        return ("", 0.0) if current is None else (current[0], self._clock() - current[1])
