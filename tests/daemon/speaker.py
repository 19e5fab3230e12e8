"""A rank of a test's own, which says the records that it is told to, byte by byte known, to a real daemon."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import zmq

from asynclog_proto import frames, places, records
from asynclog_proto.limits import MAX_REPORT_BYTES

PATIENCE_S = 30.0


class Speaker:
    """One stream of the run `<root>/p/run`. Use it as a context manager."""

    def __init__(
        self, runtime: Path, root: Path, incarnation: str, *, launch: str, rank: int = 0, world: int = 1, **more: str
    ) -> None:
        """`more` are other fields of its hello."""
        self._about: dict[str, Any] = {
            "project": "p", "name": "run", "dir": str(root), "host": "golden", "pid": 1,
            "rank": rank, "world_size": world, "incarnation": incarnation, "launch": launch, **more,
        }  # fmt: skip
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        self._socket.setsockopt(zmq.LINGER, 0)
        self._socket.connect(places.endpoint(runtime))
        self.seq = 0

    def __enter__(self) -> Speaker:  # noqa: PYI034 - nobody derives from it, and 3.10 has no Self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._context.term()

    def hello(self, backends: Mapping[str, Any] | None = None) -> frames.Welcome:
        """Open the stream and go on from what the daemon has of it."""
        welcome: frames.Welcome = self.ask(
            frames.Hello(**self._about, first_seq=self.seq, backends=backends), frames.Welcome
        )
        self.seq = welcome.next_seq
        return welcome

    def say(self, *said: records.Record) -> None:
        """Records; returns when they are journaled."""
        self.begin_to_say(*said)
        assert self.is_acked(PATIENCE_S), "no ack"

    def begin_to_say(self, *said: records.Record) -> None:
        """Records; does not wait."""
        payload = b"".join(map(records.encode, said))
        self._send(frames.Batch(self.seq, len(said)), payload)
        self.seq += len(said)

    def is_acked(self, seconds: float) -> bool:
        """Whether all that was said is acked, waiting so long at most."""
        end = time.monotonic() + seconds
        while self._socket.poll(max(0, int(1000 * (end - time.monotonic())))):
            if self._answer(frames.Ack).next_seq == self.seq:
                return True
        return False

    def ask(self, message: frames.Message, kind: type[Any]) -> Any:
        """The answer of this kind to a message; others are passed over."""
        self._send(message)
        return self._answer(kind)

    def end(self, issued: int, status: str = "success") -> frames.Ledger:
        """Say END and wait until all is delivered."""
        self.say(records.End(status))
        ledger: frames.Ledger = self.ask(frames.Finish(issued, {}), frames.Ledger)
        return ledger

    def _send(self, message: frames.Message, payload: bytes | None = None) -> None:
        self._socket.send_multipart(frames.encode(message, payload))

    def _answer(self, kind: type[Any]) -> Any:
        while True:
            assert self._socket.poll(int(1000 * PATIENCE_S)), f"no {kind.__name__}"
            answer, _ = frames.decode(self._socket.recv_multipart(), max_header=MAX_REPORT_BYTES)
            if isinstance(answer, kind):
                return answer
            assert not isinstance(answer, (frames.Refused, frames.Reset)), answer
