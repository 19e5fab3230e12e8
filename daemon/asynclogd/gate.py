"""Who is connected, and how many may be: told of what libzmq's monitor says. A connection is named by its file
descriptor, which is a name for as long as it is open.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import zmq

ROOM_AGAIN = 0.9
"""It is not full any more below this share of its cap: so it is not told to be full with every connection."""


@dataclass(slots=True)
class Gate:
    """`most` connections; counts are since the beginning. Any thread may call."""

    most: int
    accepted: int = 0
    bad_handshakes: int = 0
    """peers that did not speak the protocol, or not in time"""
    strangers: int = 0
    """peers that were not let in: another user, no key, a key that is not allowed"""
    sent_away: int = 0
    """connections for which there was no room"""
    cut: int = 0
    """connections that were ended, for they took memory or a place and said nothing, or their key was revoked"""
    crowded: bool = False
    """whether file descriptors are short for whatever reason: nobody else may come in"""
    _full: bool = False
    _heard: dict[int, float] = field(default_factory=dict)
    """when each connection last completed a message, or was let in: monotonic seconds"""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def connections(self) -> int:
        """How many there are."""
        return len(self._heard)

    def told(self, event: int, fd: int, now: float) -> bool:
        """What the monitor says. False when it is of a connection for which there is no room."""
        with self._lock:
            if event == zmq.EVENT_ACCEPTED:
                return self._came(fd, now)
            if event == zmq.EVENT_DISCONNECTED:
                self._heard.pop(fd, None)
            elif event == zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                self.strangers += 1
            elif event in (zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL, zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL):
                self.bad_handshakes += 1
            return True

    def hear(self, fd: int, now: float) -> None:
        """A connection has completed a message."""
        with self._lock:
            if fd in self._heard:
                self._heard[fd] = now

    def newly_full(self) -> bool:
        """Whether it has become full since this was asked last: for a line in the log, one each time."""
        with self._lock:
            was, count = self._full, len(self._heard)
            self._full = self.crowded or count >= (self.most * ROOM_AGAIN if was else self.most)
            return self._full and not was

    def silent_since(self, moment: float) -> list[int]:
        """Connections that have completed no message since then."""
        with self._lock:
            return [fd for fd, heard in self._heard.items() if heard < moment]

    def _came(self, fd: int, now: float) -> bool:
        """It counts as connected until it is gone, for it has its file descriptor until then."""
        self.accepted += 1
        room = len(self._heard) < self.most and not self.crowded
        self.sent_away += not room
        self._heard[fd] = now
        return room
