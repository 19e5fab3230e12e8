"""Ranks without a training: connections that one process holds to a real daemon, and what they say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import zmq

from asynclog_proto import frames
from asynclog_proto.limits import MAX_REPORT_BYTES


class BareRank:
    """One connection, and what it says."""

    def __init__(self, context: zmq.Context[Any], endpoint: str, folder: Path, rank: int, world: int) -> None:
        self.rank = rank
        self._socket = context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(endpoint)
        self._seq = 0
        about: dict[str, Any] = {"project": "bench", "name": "run", "dir": str(folder), "host": "bench", "pid": 1}
        about |= {"rank": rank, "world_size": world, "incarnation": f"r{rank}", "launch": "ranks", "first_seq": 0}
        self._send(frames.Hello(**about, backends={"tensorboard": {}}))

    def say(self, record: bytes) -> None:
        """One record, in a batch of its own."""
        self._send(frames.Batch(self._seq, 1), record)
        self._seq += 1

    def ask(self, name: str, step: int) -> None:
        """Ask for a reduced value, which the answer of kind Value brings."""
        self._send(frames.Ask(step, self._seq, name, step))

    def answer(self, kind: type[Any], seconds: float) -> Any:
        """The next message of this kind; TimeoutError when none comes."""
        end = time.monotonic() + seconds
        while self._socket.poll(max(0, int(1e3 * (end - time.monotonic())))):
            message = self._receive()
            if isinstance(message, kind):
                return message
        raise TimeoutError(f"rank {self.rank}: no {kind.__name__} for {seconds} s")

    def wait_for_acks(self, seconds: float) -> None:
        """Wait until all that was said is journaled."""
        while self.answer(frames.Ack, seconds).next_seq < self._seq:
            pass

    def finish(self, issued: int, seconds: float) -> None:
        """Wait until all that was said, an END the last, is delivered; RuntimeError when it is not."""
        self._send(frames.Finish(issued, {}))
        ledger = self.answer(frames.Ledger, seconds)
        if not ledger.complete:
            raise RuntimeError(f"rank {self.rank}: not all was delivered: {ledger.ledger}")

    def pass_over(self) -> None:
        """What has come, acks that nobody waits for."""
        while self._socket.getsockopt(zmq.EVENTS) & zmq.POLLIN:
            self._receive()

    def close(self) -> None:
        self._socket.close()

    def _receive(self) -> frames.Message:
        message, _ = frames.decode(self._socket.recv_multipart(), max_header=MAX_REPORT_BYTES)
        if isinstance(message, (frames.Refused, frames.Reset)):
            raise RuntimeError(f"rank {self.rank} was not taken: {message}")  # noqa: TRY004 - no wrong argument
        return message

    def _send(self, message: frames.Message, payload: bytes | None = None) -> None:
        self._socket.send_multipart(frames.encode(message, payload))


@contextmanager
def joined(endpoint: str, folder: Path, world: int) -> Iterator[list[BareRank]]:
    """All ranks of a run, which have been welcomed."""
    with zmq.Context() as context:
        context.set(zmq.MAX_SOCKETS, world + 64)
        ranks = [BareRank(context, endpoint, folder, rank, world) for rank in range(world)]
        try:
            for rank in ranks:
                rank.answer(frames.Welcome, 60.0)
            yield ranks
        finally:
            for rank in ranks:
                rank.close()
