"""The socket to the daemon, and the pipe that wakes the thread which waits on it. The one file that knows zmq."""

from __future__ import annotations

import contextlib
import math
import os
import select
from collections.abc import Iterator, Sequence
from typing import Any

from asynclog.keys import ClientKeys
from asynclog_proto import frames
from asynclog_proto.errors import ProtocolError
from asynclog_proto.limits import MAX_REPORT_BYTES


class Bell:
    """Wakes a thread in its poll, from any thread."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()
        self._closed = False
        self._poll = select.poll()  # select() takes no descriptor above 1,023, and loaders of data open many
        self._poll.register(self.reader, select.POLLIN)

    def ring(self) -> None:
        """Wake the thread now or, when it is busy, at its next poll."""
        # No note is kept that it has rung: Ctrl-C between note and ring would silence all that follow.
        if not self._closed:
            with contextlib.suppress(OSError):  # full: it has rung often enough
                os.write(self._writer, b"\0")

    def hush(self) -> None:
        """The thread is awake."""
        with contextlib.suppress(OSError):
            os.read(self.reader, 4096)

    def wait(self, seconds: float) -> None:
        """Wait for a ring, at most so long."""
        self._poll.poll(math.ceil(seconds * 1000))
        self.hush()

    def close(self) -> None:
        """Give the pipe back; rings go nowhere from here on."""
        self._closed = True
        os.close(self.reader)
        os.close(self._writer)


def _pipe() -> tuple[int, int]:
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer


class Link:
    """A DEALER. Messages go only into a connection that stands: the protocol sends again what a broken one took,
    and a daemon that comes back after an hour finds one greeting in its queue, not thousands.
    """

    def __init__(self, endpoint: str, bell: Bell, keys: ClientKeys | None = None) -> None:
        """`keys` are for a daemon on another machine."""
        import zmq

        self._again: type[Exception] = zmq.Again
        self._nowait = zmq.NOBLOCK
        self._events, self._pollin = zmq.EVENTS, zmq.POLLIN
        self._bell = bell
        self._context: Any = zmq.Context()
        self._socket: Any = self._context.socket(zmq.DEALER)
        for option, value in (
            (zmq.LINGER, 0),
            (zmq.IMMEDIATE, 1),
            (zmq.SNDHWM, 1000),
            (zmq.RCVHWM, 10_000),
            (zmq.MAXMSGSIZE, MAX_REPORT_BYTES),
            (zmq.RECONNECT_IVL, 50),
            (zmq.RECONNECT_IVL_MAX, 500),
        ):
            self._socket.setsockopt(option, value)
        if keys is not None:
            from zmq.utils import z85

            self._socket.setsockopt(zmq.CURVE_SERVERKEY, keys.server)
            self._socket.setsockopt(zmq.CURVE_PUBLICKEY, zmq.curve_public(z85.encode(keys.secret)))
            self._socket.setsockopt(zmq.CURVE_SECRETKEY, keys.secret)
        self._socket.connect(endpoint)
        self._poller = zmq.Poller()
        self._poller.register(self._socket, zmq.POLLIN)
        self._poller.register(bell.reader, zmq.POLLIN)

    def wait(self, seconds: float) -> None:
        """Wait for a message or a ring of the bell, at most so long."""
        self._poller.poll(math.ceil(seconds * 1000))  # rounded down, the last millisecond would be a busy loop
        self._bell.hush()

    def send(self, message: frames.Message, payload: memoryview | bytes | None = None) -> bool:
        """Hand a message over; False when there is no connection, or one that does not move."""
        try:
            self._socket.send_multipart(frames.encode(message, payload), self._nowait)
        except self._again:
            return False
        return True

    def receive(self) -> Iterator[frames.Message]:
        """Yield what has arrived. A message that is none is passed over: a gap in acks heals itself."""
        # Asking first: an exception at each look costs more than all the rest of it.
        while self._socket.getsockopt(self._events) & self._pollin:
            parts: Sequence[bytes] = self._socket.recv_multipart(self._nowait)
            with contextlib.suppress(ProtocolError):
                yield frames.decode(parts, max_header=MAX_REPORT_BYTES)[0]

    def close(self) -> None:
        """Close at once; what is still queued is not sent."""
        self._socket.close(linger=0)
        self._context.term()
