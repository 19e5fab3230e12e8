"""The ROUTER socket: messages in, checked and counted; messages out. Nothing is decided here."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

import zmq

from asynclog_proto import frames, places
from asynclog_proto.errors import ProtocolError
from asynclog_proto.frames import Message, Refused
from asynclog_proto.limits import MAX_BATCH_BYTES, MAX_PARTS

log = logging.getLogger(__name__)

BURST = 64
"""Messages taken in one turn of the loop, so that timers and answers get theirs."""

MAX_SOCKETS = 8192

Deliver = Callable[[bytes, Message, memoryview], None]


@dataclass(slots=True)
class IngestCounts:
    """What has come through the socket since it opened."""

    messages: int = 0
    bytes: int = 0
    malformed: int = 0
    unroutable: int = 0


class Ingest:
    """Owns the socket between `open` and `close`; calls `deliver(peer, message, payload)` on the event loop from
    `start` to `pause`.
    """

    def __init__(self, address: str, deliver: Deliver) -> None:
        self.address = address
        self.counts = IngestCounts()
        self._deliver = deliver
        self._scheduled = self._open = False

    def open(self) -> None:
        """Bind. The runtime directory's lock must be held: a bind on an ipc path steals it from whoever has it."""
        self._loop = asyncio.get_running_loop()
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, MAX_SOCKETS)
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_BATCH_BYTES)
        self._socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
        self._socket.bind(self.address)
        (places.runtime_of(self.address) / "daemon.sock").chmod(0o600)

    def start(self) -> None:
        """Begin to deliver what comes in."""
        self._open = True
        self._loop.add_reader(self._socket.fileno(), self._readable)
        self._readable()

    def pause(self) -> None:
        """Deliver nothing more; answers still go out."""
        self._open = False
        self._loop.remove_reader(self._socket.fileno())

    def close(self) -> None:
        """Unbind; what is on its way out has a moment to go."""
        self._socket.close()
        self._context.term()

    def send(self, peer: bytes, message: Message) -> None:
        """Answer a peer; one that has gone is passed over."""
        try:
            self._socket.send_multipart([peer, *frames.encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            self.counts.unroutable += 1
        # The file descriptor is edge-triggered: sending may have swallowed the edge of what came in meanwhile.
        self._look_again()

    def _look_again(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._readable)

    def _readable(self) -> None:
        self._scheduled = False
        if not self._open:
            return
        for _ in range(BURST):
            # Asking first: zmq.Again as an exception costs more than the rest of an empty look.
            if not int(self._socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
                return
            self._take(self._socket.recv_multipart(zmq.NOBLOCK))
        self._look_again()

    def _take(self, parts: list[bytes]) -> None:
        self.counts.messages += 1
        self.counts.bytes += sum(map(len, parts))
        peer = parts[0]
        try:
            if len(parts) > MAX_PARTS:
                raise ProtocolError(f"a message of {len(parts)} frames")
            message, payload = frames.decode(parts[1:])
        except ProtocolError as error:
            self.counts.malformed += 1
            if self.counts.malformed <= 10:  # a peer that goes on like this would fill the disk with its lines
                log.warning("a malformed message was refused: %s", error)
            self.send(peer, Refused(str(error)))
            return
        self._deliver(peer, message, payload)
