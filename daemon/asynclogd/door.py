"""One ROUTER on one listening socket: who comes in, what they say, what is said to them."""

from __future__ import annotations

import logging
import os
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass

import zmq
from zmq.utils.monitor import recv_monitor_message

from asynclog_proto.limits import MAX_BATCH_BYTES, MAX_PARTS
from asynclogd import zap
from asynclogd.gate import Gate
from asynclogd.incidents import about
from asynclogd.keys import Pair
from asynclogd.listening import Listening

log = logging.getLogger(__name__)

HANDSHAKE_MS = 10_000
"""Who has not come in by then is sent away; a stranger holds a file descriptor no longer."""

WATCHED = (
    zmq.EVENT_ACCEPTED
    | zmq.EVENT_DISCONNECTED
    | zmq.EVENT_HANDSHAKE_FAILED_AUTH
    | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL
    | zmq.EVENT_HANDSHAKE_FAILED_NO_DETAIL
    | zmq.EVENT_MONITOR_STOPPED
)


@dataclass(frozen=True, slots=True)
class Arrival:
    """A message: who said it, as which user (see zap.Verdict), on which connection. Of its frames no more are kept than
    are needed to refuse it.
    """

    peer: bytes
    user: str
    fd: int
    parts: Sequence[bytes]
    size: int


class Door:
    """Owns a ROUTER and the socket that listens, between construction and `close`. With `pair` it is CURVE's."""

    def __init__(
        self, context: zmq.Context[zmq.Socket[bytes]], listening: Listening, most: int, pair: Pair | None
    ) -> None:
        self.address, self.remote = listening.address, listening.remote
        self.gate = Gate(most)
        self.socket = context.socket(zmq.ROUTER)
        for option, value in (
            (zmq.LINGER, 200),
            (zmq.MAXMSGSIZE, MAX_BATCH_BYTES),
            (zmq.ROUTER_MANDATORY, 1),
            (zmq.HANDSHAKE_IVL, HANDSHAKE_MS),
            (zmq.IPV6, 1),
        ):
            self.socket.setsockopt(option, value)
        self.socket.setsockopt(zmq.ZAP_DOMAIN, zap.TCP if listening.remote else zap.IPC)
        if pair is not None:
            self.socket.setsockopt(zmq.CURVE_SERVER, 1)
            self.socket.setsockopt(zmq.CURVE_SECRETKEY, pair.secret)
        watching = f"inproc://monitor-{id(self)}"
        self.socket.monitor(watching, WATCHED)
        self._monitor = context.socket(zmq.PAIR)
        # Bounded: libzmq's thread, which lets everybody in, waits for ours when it is 1,000 connections ahead of it.
        self._monitor.setsockopt(zmq.RCVHWM, 1)
        self._monitor.connect(watching)
        self._usher = threading.Thread(target=self._ush, name=f"door {self.address}", daemon=True)
        self._usher.start()
        self.socket.setsockopt(zmq.USE_FD, listening.socket.detach())
        self.socket.bind(self.address)

    def close(self) -> None:
        """Listen no more; what is on its way out has a moment to go."""
        self.socket.disable_monitor()
        self._usher.join()
        self.socket.close()

    def receive(self) -> Arrival | None:
        """The next message, when there is one."""
        # Asking first: zmq.Again as an exception costs more than the rest of an empty look.
        if not int(self.socket.getsockopt(zmq.EVENTS)) & zmq.POLLIN:
            return None
        first = self.socket.recv(zmq.NOBLOCK, copy=False)
        fd = int(first.get(zmq.SRCFD))
        user = str(first.get("User-Id"))
        self.gate.hear(fd, time.monotonic())
        parts: list[bytes] = []
        size, more = len(first), first.more
        while more:
            part = self.socket.recv(zmq.NOBLOCK, copy=False)
            size, more = size + len(part), part.more
            if len(parts) < MAX_PARTS:
                parts.append(part.bytes)
        return Arrival(first.bytes, user, fd, parts, size)

    def send(self, peer: bytes, frames: Sequence[bytes | memoryview]) -> bool:
        """Answer a peer; False when it has gone, or does not read."""
        try:
            self.socket.send_multipart([peer, *frames], zmq.NOBLOCK)
        except zmq.ZMQError as error:
            if error.errno not in (zmq.EHOSTUNREACH, zmq.EAGAIN):
                raise
            return False
        return True

    def cut(self, fds: Sequence[int]) -> None:
        """End connections."""
        self.gate.cut += sum(map(_shut_down, fds))

    def _ush(self) -> None:
        """The thread that counts who comes and goes. Out of file descriptors libzmq would abort the process, and it
        can't be told to take fewer: whoever is too many is sent away at once, without waiting for the event loop.
        """
        with self._monitor:
            while (event := recv_monitor_message(self._monitor))["event"] != zmq.EVENT_MONITOR_STOPPED:
                if not self.gate.told(event["event"], event["value"], time.monotonic()):
                    _shut_down(event["value"])
                    self.tell_when_full()

    def tell_when_full(self) -> None:
        """A line in the log, each time that there is no more room."""
        if self.gate.newly_full():
            many = f"{self.gate.connections} connections, of {self.gate.most} that are allowed"
            why = ", and file descriptors are short" if self.gate.crowded else ""
            told = about("connections-full", cause="file descriptors" if self.gate.crowded else "max_connections")
            text = "%s: %s%s: others are sent away (daemon.max_connections, ulimit -n)"
            log.warning(text, self.address, many, why, extra=told)


def _shut_down(fd: int) -> bool:
    """End a connection. libzmq can't be asked to: its socket is shut down under it, which it takes as the peer's doing.
    Whoever was meant wrongly, for the number is another's by now, connects again.
    """
    try:
        with socket.socket(fileno=os.dup(fd)) as connection:
            connection.shutdown(socket.SHUT_RDWR)
    except OSError:  # it has gone by itself
        return False
    return True
