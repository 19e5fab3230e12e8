"""What wakes a sink's thread, and what it has been asked for from outside."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

Stop = Literal["", "drain", "now", "abandon"]
_LONGEST = 3600.0
"""s: whoever waits looks again after so long"""

_STOPS: tuple[Stop, ...] = ("", "drain", "now", "abandon")


class Bell:
    """Any thread may ring; one waits."""

    def __init__(self) -> None:
        self.asked: Stop = ""
        """how the sink is to end"""
        self.hurry = 0
        """someone waits for the items up to this one"""
        self._cond = threading.Condition()
        self._idle = False

    def wake(self) -> None:
        """There are new items."""
        # The thread says that it is idle before it looks for items: it sees them, or we see that.
        if self._idle:
            with self._cond:
                self._cond.notify()

    def look_again(self) -> None:
        """However long was to be waited yet: it may be by a clock that was set: see reliability.md, The clock."""
        with self._cond:
            self._cond.notify()

    def hurry_to(self, offset: int) -> None:
        """Someone waits for the items up to this one."""
        with self._cond:
            self.hurry = offset
            self._cond.notify()

    def ask(self, how: Stop) -> None:
        """End in this way, or in the firmer one that was asked for before."""
        with self._cond:
            self.asked = max(self.asked, how, key=_STOPS.index)
            self._cond.notify()

    @property
    def ends_now(self) -> bool:
        """Whether nothing more is to be offered."""
        return self.asked in ("now", "abandon")

    def wait(self, seconds: float) -> None:
        """Wait. Being asked to end cuts it short, once for each way."""
        with self._cond:
            asked = self.asked
            self._cond.wait_for(lambda: self.asked != asked, seconds)

    def wait_for_items(
        self,
        last: Callable[[], int],
        read: int,
        due: float,
        *,
        patient: bool,
        caught_up: Callable[[], None],
        held: Callable[[], float] = lambda: _LONGEST,
    ) -> bool:
        """Wait until there are items after `read` and it is `due` (time.monotonic), or sooner for who hurries unless
        `patient`. False: the sink is to end. `caught_up` is called when there are none; then `held` says how many s
        later there is something to do all the same.
        """
        with self._cond:
            try:
                while not self.ends_now:
                    self._idle = True
                    self._idle = not (behind := last() > read)
                    wait = due - time.monotonic()
                    if behind and (wait <= 0 or (not patient and (self.asked or read < self.hurry))):
                        return True
                    if not behind:
                        caught_up()
                        wait = held()
                        if self.asked:
                            break
                        if wait <= 0:
                            return True
                    self._cond.wait(min(wait, _LONGEST))
                return False
            finally:
                self._idle = False
