"""A run's streams: who has said hello, of which launch each is, and which of a rank's processes is its latest."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable
from dataclasses import replace

from asynclog_proto.frames import Hello
from asynclogd import launches
from asynclogd.entries import Stream
from asynclogd.incidents import about
from asynclogd.session import Session, new_stream
from asynclogd.state import HOST_STREAM

log = logging.getLogger(__name__)


class Roster:
    """The sessions of one run, by incarnation."""

    def __init__(self, title: str, streams: Iterable[Stream] = ()) -> None:
        """`streams`: those that are journaled. Whoever lives has time from now on to say hello."""
        self.sessions = {stream.incarnation: Session.of(stream) for stream in streams}
        for session in self.sessions.values():
            session.heard = time.monotonic()
        self._title = title

    def admit(self, hello: Hello, began: float | None) -> tuple[Session, list[Session]]:
        """The session of a first hello, of a process that `began` then where that is known; and the live ones of its
        rank in its launch that are of former processes now.
        """
        known = [session.stream for session in self.sessions.values()]
        if began is None:
            began = launches.later(time.time(), hello.rank, known)
        hello = replace(hello, launch=launches.launch_of(hello, began, known))
        number = max((stream.id for stream in known), default=HOST_STREAM) + 1
        session = Session.of(new_stream(number, hello, began))
        former = [
            each
            for each in self.sessions.values()
            if each.live and launches.has_come_again(each.stream, [session.stream])
        ]
        self.sessions[hello.incarnation] = session
        return session, former

    def of_rank(self, hello: Hello) -> dict[str, float]:
        """When the streams began that are there of its rank and its launch, by incarnation."""
        streams = (session.stream for session in self.sessions.values())
        return {
            each.incarnation: each.began
            for each in streams
            if each.rank == hello.rank and each.launch.startswith(hello.launch)
        }

    @property
    def live(self) -> int:
        """Of how many streams more may come."""
        return sum(session.live for session in self.sessions.values())

    def is_past(self, session: Session) -> bool:
        """Whether a later process of its rank has come: what it says of the rank counts no more."""
        return launches.has_come_again(session.stream, (each.stream for each in self.sessions.values()))

    def odd_world(self, stream: Stream) -> str:
        """A notice, which is logged too, when ranks of one launch tell different world sizes, else "". Where processes
        come and go within a launch some may come before or after the others, and be alone then.
        """
        if launches.is_rejoined(stream.launch):
            return ""
        others = [other.stream for other in self.sessions.values() if other.stream.launch == stream.launch]
        odd = next((other for other in others if other.world_size != stream.world_size), None)
        if odd is None:
            return ""
        text = (
            f"rank {stream.rank} says world_size={stream.world_size}, but rank {odd.rank} of the same launch says "
            f"{odd.world_size}: the larger one counts, and steps wait for ranks that may not exist"
        )
        log.warning("run %s: %s", self._title, text, extra=about("odd-world", run=self._title, rank=stream.rank))
        return text

    def by_id(self) -> dict[int, Session]:
        """The sessions by their streams' numbers."""
        return {session.stream.id: session for session in self.sessions.values()}
