"""Many ranks in one process, each with a connection of its own to a real daemon: senders without a training.

The daemon is not spared anything: headers, credit, acks and the ledger at the end are those of the protocol. Only
`log()` is left out, so that one process can say more than a daemon takes.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from asynclog_proto import frames
from asynclog_proto.limits import MAX_REPORT_BYTES
from asynclog_proto.records import End, encode
from batches import Stream

PATIENCE_MS = 120_000
AHEAD = 2
"""Batches that a rank has in flight: it makes one while the daemon takes the other."""

FLUSH_S = 0.1
"""How often a sender sends what is new."""

_REFUSALS = (frames.Refused.TYPE, frames.Reset.TYPE)


@dataclass
class _Rank:
    stream: Stream
    socket: zmq.Socket[bytes]
    sent: int = 0
    seq: int = 0
    acked: int = 0
    waiting: list[int] = field(default_factory=list)
    """where each batch in flight ends"""

    def say(self, message: frames.Message, payload: bytes | memoryview | None = None) -> None:
        self.socket.send_multipart(frames.encode(message, payload), copy=False)

    def batch(self) -> None:
        parts = self.stream.message(self.sent)
        batch, _ = frames.decode(parts)
        assert isinstance(batch, frames.Batch)
        self.socket.send_multipart(parts, copy=False)
        self.sent += 1
        self.seq = batch.first_seq + batch.count
        self.waiting.append(self.seq)

    def answer(self, kind: type[Any]) -> Any:
        """The next message of this kind; acks on the way are noted."""
        while True:
            if not self.socket.poll(PATIENCE_MS):
                raise RuntimeError(f"no {kind.__name__} from the daemon in {PATIENCE_MS / 1000:.0f} s")
            message, _ = frames.decode(self.socket.recv_multipart(), max_header=MAX_REPORT_BYTES)
            if isinstance(message, frames.Ack):
                self.acked = max(self.acked, message.next_seq)
                self.waiting = [seq for seq in self.waiting if seq > self.acked]
            if message.TYPE in _REFUSALS:
                raise RuntimeError(f"the daemon says {message}")
            if isinstance(message, kind):
                return message

    def settle(self, most: int) -> None:
        """Wait until at most so many batches are in flight."""
        while len(self.waiting) > most:
            self.answer(frames.Ack)


class SimulatedRanks:
    """All ranks of one run. Use it as a context manager; the run is `<directory>/bench/<name>`."""

    def __init__(
        self,
        endpoint: str,
        directory: Path,
        name: str,
        streams: list[Stream],
        backends: Mapping[str, Mapping[str, Any]],
    ) -> None:
        self.run_dir = directory / "bench" / name
        self._context = zmq.Context()
        self._context.set(zmq.MAX_SOCKETS, len(streams) + 16)
        self._ranks = [_Rank(stream, self._connection(endpoint)) for stream in streams]
        about: dict[str, Any] = {"project": "bench", "name": name, "dir": str(directory), "host": "bench"}
        about |= {"world_size": len(streams), "launch": name, "first_seq": 0, "pid": os.getpid(), "backends": backends}
        for number, rank in enumerate(self._ranks):
            rank.say(frames.Hello(rank=number, incarnation=f"bench{number}", **about))
        for rank in self._ranks:
            rank.answer(frames.Welcome)

    def __enter__(self) -> SimulatedRanks:  # noqa: PYI034 - nobody derives from it, and 3.10 has no Self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for rank in self._ranks:
            rank.socket.close(0)
        self._context.term()

    @property
    def scalars(self) -> int:
        """Values that have been said."""
        return sum(rank.sent * rank.stream.scalars for rank in self._ranks)

    def rounds(self, count: int, each: Callable[[], object] = lambda: None, every_s: float = 0.0) -> None:
        """`count` batches of every rank, as fast as the daemon acks them, or at most one each `every_s`; `each` is
        called after a round. All are journaled when it returns.
        """
        due = time.monotonic()
        for _ in range(count):
            for rank in self._ranks:
                rank.settle(AHEAD - 1)
                rank.batch()
            each()
            due += every_s
            time.sleep(max(0.0, due - time.monotonic()))
        for rank in self._ranks:
            rank.settle(0)

    def finish(self) -> None:
        """Say the end, and wait until everything is in the backends' files. Raises RuntimeError when it is not."""
        for rank in self._ranks:
            rank.say(frames.Batch(rank.seq, 1), encode(End("success")))
            rank.say(frames.Finish(rank.sent * rank.stream.scalars, {}))
        ledgers = [rank.answer(frames.Ledger) for rank in self._ranks]
        if not all(ledger.complete for ledger in ledgers):
            raise RuntimeError(f"not everything is delivered: {ledgers[0].ledger}")

    def _connection(self, endpoint: str) -> zmq.Socket[bytes]:
        socket = self._context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.connect(endpoint)
        return socket
