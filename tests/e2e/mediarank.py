"""A rank's stream by hand: the frames, the outbox and the ring's lock of a client, for tests of the daemon alone."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from asynclog_proto import frames, outboxfile, places, records, ringfile
from asynclog_proto.frames import Ack, Batch, Finish, Hello, Ledger, Message, Reset, Welcome
from asynclog_proto.media import Media, Place, Section

CAPACITY = 4 << 20


class MediaRank:
    """Sends what it is told, and sends it again to every daemon that comes, until it is acked."""

    def __init__(self, directory: Path, runtime: Path, backends: dict[str, Any]) -> None:
        self.run = directory / "p" / "run"
        rings = runtime / "rings"
        rings.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.ring = places.ring_path(rings, self.run, 0, "hand")
        self.outbox = places.outbox_path(rings, self.run, 0, "hand")
        self.spool = places.spool_dir(self.run, 0, "hand")
        self.hello = Hello(
            "p", "run", str(directory), 0, 1, "hand", "L", 0, os.getpid(), "host",
            ring=str(self.ring), outbox=str(self.outbox), spool=str(self.spool), backends=backends,
        )  # fmt: skip
        self.ring.write_bytes(ringfile.header(1 << 16, bytes(frames.encode(self.hello)[0])) + bytes(1 << 16))
        self._lock = self.ring.open("r+b")
        fcntl.lockf(self._lock, fcntl.LOCK_EX)
        self.outbox.write_bytes(outboxfile.header(CAPACITY) + bytes(CAPACITY))
        self._memory = self.outbox.open("r+b")
        self.said: list[bytes] = []
        self.acked = self.freed = 0
        self.ledger: Ledger | None = None
        self._head = 0
        self._sent: int | None = None
        self._spoke = 0.0
        self._endpoint = places.endpoint(runtime)
        self._context = zmq.Context()
        self._socket: zmq.Socket[bytes] | None = None
        self._connect()

    def text(self, said: str, step: int) -> None:
        """Log a text whose body goes through the outbox."""
        body = said.encode()
        while (offset := outboxfile.fit(self.freed, self._head, len(body), CAPACITY)) is None:
            self.pump()
        self._head = offset + len(body)
        place = Place(0, offset, len(body))
        os.pwrite(self._memory.fileno(), body, outboxfile.at(place, CAPACITY))
        self._say_text(place, step)

    def spilt_text(self, said: str, step: int) -> None:
        """Log a text whose body is in a file of the spool, alone there."""
        self.spool.mkdir(parents=True, exist_ok=True)
        places.media_path(self.spool, step + 1).write_bytes(said.encode())
        self._say_text(Place(step + 1, 0, len(said.encode())), step)

    def _say_text(self, place: Place, step: int) -> None:
        sections = (Section("text", "text", (place.size,)),)
        self.say(Media("note", step, 100.0 + step, "text", sections, {}, place))

    def say(self, *said: records.Record) -> None:
        self.said += map(records.encode, said)

    def pump(self, patience: int = 20) -> None:
        """Send what can be sent, hear what there is to hear; a daemon that is silent is asked for again."""
        if self._sent is not None and self._sent < len(self.said):
            some = self.said[self._sent : self._sent + 50]
            self._send(Batch(self._sent, len(some)), b"".join(some))
            self._sent += len(some)
        while self._socket is not None and self._socket.poll(patience):
            self._hear(frames.decode(self._socket.recv_multipart(), max_header=8 << 20)[0])
            patience = 0
        if time.monotonic() - self._spoke > 1.0:
            self._connect()

    def until(self, condition: Callable[[], object], deadline: float = 60.0) -> None:
        end = time.monotonic() + deadline
        while not condition():
            assert time.monotonic() < end, f"acked {self.acked} of {len(self.said)}, freed {self.freed}"
            self.pump()

    def until_acked(self, count: int) -> None:
        """Wait until so many records are journaled."""
        self.until(lambda: self.acked >= count)

    def finish(self) -> Ledger:
        """END, and the ledger."""
        self.say(records.End("success"))
        issued = sum(isinstance(records.decode(each), Media) for each in self.said)
        asked = 0.0

        def done() -> bool:
            nonlocal asked
            if self.acked == len(self.said) and time.monotonic() - asked > 1.0:
                asked = time.monotonic()
                self._send(Finish(issued, {}))
            return self.ledger is not None

        self.until(done)
        assert self.ledger is not None
        return self.ledger

    def leave_in_ring(self) -> None:
        """Store in the ring what was said, none of it sent, as a process has it there that is killed now."""
        body = b"".join(self.said)
        os.pwrite(self._lock.fileno(), body, ringfile.HEADER)
        os.pwrite(self._lock.fileno(), len(self.said).to_bytes(8, sys.byteorder), ringfile.ISSUED)
        os.pwrite(self._lock.fileno(), len(body).to_bytes(8, sys.byteorder), ringfile.HEAD)

    def close(self) -> None:
        self._lock.close()
        self._memory.close()
        if self._socket is not None:
            self._socket.close(0)
            self._socket = None
        self._context.term()

    def _connect(self) -> None:
        if self._socket is not None:
            self._socket.close(0)
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.connect(self._endpoint)
        self._sent = None
        self._spoke = time.monotonic()
        self._send(self.hello)

    def _send(self, message: Message, payload: bytes | None = None) -> None:
        assert self._socket is not None
        parts = frames.encode(message)
        self._socket.send_multipart([*parts, payload] if payload is not None else parts)

    def _hear(self, message: Message) -> None:
        self._spoke = time.monotonic()
        if isinstance(message, Welcome):
            self._sent = self.acked = message.next_seq
        elif isinstance(message, Ack):
            self.acked, self.freed = max(self.acked, message.next_seq), max(self.freed, message.media)
        elif isinstance(message, Ledger):
            self.ledger = message
        elif isinstance(message, Reset):
            self._connect()
