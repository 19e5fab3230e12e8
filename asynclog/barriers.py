"""Calls of `flush()`: what each waits for, on its way from the caller to the daemon and back.

A caller adds a barrier; the sender's thread gives it its place in the stream, once the device rows from before the
call are written, asks the daemon, and reaches it. Every barrier gets its place, also when its caller has given up: the
daemon counts the flushes of the ranks.
"""

from __future__ import annotations

import threading

from asynclog_proto.frames import Flush

MOST_ASKED = 16
"""Flushes that are asked at once; the daemon remembers some more."""


class Barrier:
    """One call: `step` is the highest that was logged before it, `devices` how many device rows were."""

    def __init__(self, step: int, devices: int) -> None:
        self.step = step
        self.devices = devices
        self.done = threading.Event()
        self.reached = False
        self.next_seq: int | None = None
        """the number after its record, once that is written"""
        self.asked = False
        self.given_up = False

    def settle(self, *, reached: bool) -> None:
        """The wait is over."""
        self.reached = reached
        self.done.set()


class Barriers:
    """Those of one run. `add` is called from any thread, everything else from the sender's."""

    def __init__(self) -> None:
        self._waiting: list[Barrier] = []

    def add(self, barrier: Barrier) -> None:
        """A caller waits."""
        self._waiting.append(barrier)

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def unplaced(self, devices: int) -> Barrier | None:
        """The next one whose record is to be written, when `devices` device rows have left their queue."""
        for barrier in self._waiting:
            if barrier.next_seq is None:
                return barrier if barrier.devices <= devices else None
        return None

    def due(self, acked_seq: int) -> Flush | None:
        """The next question, when everything before it is journaled."""
        # In place, for another thread may add one meanwhile.
        for over in [each for each in self._waiting if each.given_up and each.next_seq is not None]:
            self._waiting.remove(over)
        asked = sum(each.asked for each in self._waiting)
        for barrier in self._waiting:
            placed = barrier.next_seq is not None and barrier.next_seq <= acked_seq
            if placed and not barrier.asked and asked < MOST_ASKED:
                assert barrier.next_seq is not None
                return Flush(barrier.next_seq, barrier.step)
        return None

    def sent(self, message: Flush) -> None:
        """The question is on its way."""
        for barrier in self._waiting:
            barrier.asked = barrier.asked or barrier.next_seq == message.next_seq

    def ask_again(self) -> None:
        """A new connection, or a new daemon, knows of no question."""
        for barrier in self._waiting:
            barrier.asked = False

    def answered(self, next_seq: int) -> None:
        """The daemon has reached the barrier at this place."""
        self._settle([each for each in self._waiting if each.next_seq == next_seq], reached=True)

    def spooled(self, next_seq: int) -> None:
        """Everything before this record is in the spool, which is all that is to be had offline."""
        placed = [each for each in self._waiting if each.next_seq is not None and each.next_seq <= next_seq]
        self._settle(placed, reached=True)

    def give_up(self, *, reached: bool) -> None:
        """No more comes: the stream is refused, or its sender ends."""
        self._settle(list(self._waiting), reached=reached)

    def _settle(self, barriers: list[Barrier], *, reached: bool) -> None:
        for barrier in barriers:
            self._waiting.remove(barrier)
            barrier.settle(reached=reached)
