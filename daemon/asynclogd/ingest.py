"""The doors: messages in, checked and counted; messages out. Nothing is decided here but who is too silent."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import zmq

from asynclog_proto import frames
from asynclog_proto.errors import ProtocolError, VersionError
from asynclog_proto.frames import Message, Refused
from asynclog_proto.limits import MAX_PARTS
from asynclogd import zap
from asynclogd.door import Arrival, Door
from asynclogd.growth import Growth
from asynclogd.incidents import about
from asynclogd.keys import Pair
from asynclogd.listening import Listening
from asynclogd.stages import Stage

log = logging.getLogger(__name__)

BURST = 64
"""Messages taken in one turn of the loop, so that timers and answers get theirs."""

SILENT_SECONDS = 60.0
"""A connection that completes no message for so long is ended; a rank says that it lives every 2 s."""

Deliver = Callable[[bytes, Message, memoryview], None]


@dataclass(slots=True)
class IngestCounts:
    """What has come through the doors since they opened."""

    messages: int = 0
    bytes: int = 0
    malformed: int = 0
    unroutable: int = 0


@dataclass(frozen=True, slots=True)
class Remote:
    """Who may come in from a network."""

    pair: Pair
    allowed: zap.Names


class Ingest:
    """Owns the doors between `open` and `close`; calls `deliver(peer, message, payload)` on the event loop from `start`
    to `pause`. A peer's first byte tells its door, the rest is its identity there.
    """

    def __init__(self, deliver: Deliver) -> None:
        self.counts = IngestCounts()
        self.stages = {"ingest": Stage()}
        self._deliver = deliver
        self._doors: list[Door] = []
        self._allowed: zap.Names = lambda _: {}
        self._growth = Growth()
        self._scheduled = self._open = False

    def open(self, listening: Sequence[Listening], most: int, remote: Remote | None = None) -> None:
        """Take over sockets that listen, each for at most `most` connections. One on a network needs `remote`."""
        self._loop = asyncio.get_running_loop()
        self._context = zmq.Context()
        if remote is not None:
            self._allowed = remote.allowed
        self._porter = zap.Porter(self._context, self._allowed)  # before the doors: nobody comes in unasked
        for each in listening:
            if each.remote and remote is None:
                raise ValueError("a door on a network needs keys")
            pair = remote.pair if remote is not None and each.remote else None
            self._doors.append(Door(self._context, each, most, pair))
        self._porter.start(self._loop)

    @property
    def addresses(self) -> list[str]:
        """Where the doors are."""
        return [door.address for door in self._doors]

    def is_remote(self, peer: bytes) -> bool:
        """Whether a peer came in from a network."""
        return self._doors[peer[0]].remote

    def start(self) -> None:
        """Begin to deliver what comes in."""
        self._open = True
        for door in self._doors:
            self._loop.add_reader(door.socket.fileno(), self._readable)
        self._readable()

    def pause(self) -> None:
        """Deliver nothing more; answers still go out."""
        self._open = False
        for door in self._doors:
            self._loop.remove_reader(door.socket.fileno())

    def close(self) -> None:
        """Close the doors; what is on its way out has a moment to go."""
        for door in self._doors:
            door.close()
        self._porter.close()
        self._context.term()

    def send(self, peer: bytes, message: Message) -> None:
        """Answer a peer; one that has gone is passed over."""
        if not self._doors[peer[0]].send(peer[1:], frames.encode(message)):
            self.counts.unroutable += 1
        # The file descriptor is edge-triggered: sending may have swallowed the edge of what came in meanwhile.
        self._look_again()

    def watch(self, rss: int, *, crowded: bool) -> bool:
        """To be called several times a second: with the bytes of memory that the process has, and whether its file
        descriptors are getting short. Ends connections that take memory, or a place, and say nothing. Whether memory
        had grown.
        """
        now = time.monotonic()
        grown = self._growth.since(now, rss)
        silent = max(now - SILENT_SECONDS, grown if grown is not None else 0.0)
        for door in self._doors:
            door.gate.crowded = crowded
            door.tell_when_full()
            if fds := door.gate.silent_since(silent):
                if grown is not None:
                    told = about("connections-cut", cause="memory", count=len(fds))
                    text = "memory has grown to %d MiB: %d silent connections are ended"
                    log.warning(text, rss >> 20, len(fds), extra=told)
                door.cut(fds)
        return grown is not None

    def connections(self) -> dict[str, int]:
        """For the status: who is connected, and who was not let in."""
        gates = [door.gate for door in self._doors]
        return {
            "connections": sum(gate.connections for gate in gates),
            "connections_accepted": sum(gate.accepted for gate in gates),
            "connections_refused": sum(gate.strangers for gate in gates),
            "connections_failed": sum(gate.bad_handshakes for gate in gates),
            "connections_cut": sum(gate.cut for gate in gates),
            "connections_sent_away": sum(gate.sent_away for gate in gates),
        }

    def _look_again(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._readable)

    def _readable(self) -> None:
        self._scheduled = False
        if not self._open:
            return
        more = False
        for number, door in enumerate(self._doors):
            for _ in range(BURST):
                if (arrival := door.receive()) is None:
                    break
                began = time.perf_counter()
                self._take(number, door, arrival)
                self.stages["ingest"].add(time.perf_counter() - began)
            else:
                more = True
        if more:
            self._look_again()

    def _take(self, number: int, door: Door, arrival: Arrival) -> None:
        if door.remote and bytes.fromhex(arrival.user) not in self._allowed(time.monotonic()):
            door.cut([arrival.fd])  # its key was revoked since it came in
            return
        self.counts.messages += 1
        self.counts.bytes += arrival.size
        peer = bytes((number,)) + arrival.peer
        try:
            if len(arrival.parts) >= MAX_PARTS:
                raise ProtocolError(f"a message of {MAX_PARTS} frames or more")
            message, payload = frames.decode(arrival.parts)
        except ProtocolError as error:
            self.send(peer, Refused(self._refuse(error)))
            return
        try:
            self._deliver(peer, message, payload)
        except Exception:  # a defect of ours: those who come after this peer are let in all the same
            what = type(message).__name__
            log.exception("a message of type %s could not be taken", what, extra=about("message-not-taken"))

    def _refuse(self, error: ProtocolError) -> str:
        """Count a message that is none; why it is refused, for its sender."""
        self.counts.malformed += 1
        incident, what, reason = "message-refused", "a malformed message was refused", str(error)
        if isinstance(error, VersionError):
            incident, what = "version-refused", "a client of another version was refused"
            reason = f"{error}: update the older of the two, and end a daemon that was updated"
        log.warning("%s: %s", what, reason, extra=about(incident, cause=error))
        return reason
