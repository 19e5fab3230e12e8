"""What a run's ranks are told: acks and refusals of what they sent, and when their flushes and finishes are over."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from asynclog_proto.frames import Ack, Flushed, Ledger, Message, Refused
from asynclogd import waits
from asynclogd.session import Session
from asynclogd.store import Wanted

Send = Callable[[bytes, Message], None]


class Answers:
    """`credit()` and `freed(stream)`, up to where an outbox is free, go into each ack."""

    def __init__(self, send: Send, credit: Callable[[], int], freed: Callable[[int], int]) -> None:
        self._send, self._credit, self._freed = send, credit, freed

    def answer(self, session: Session, message: Message) -> None:
        """To the stream's rank, when it is connected."""
        if session.peer is not None:
            self._send(session.peer, message)

    def ack(self, session: Session) -> None:
        """All that is journaled of the stream."""
        freed = self._freed(session.stream.id)
        self.answer(session, Ack(session.flow.committed, self._credit(), freed))

    def committed(self, session: Session, next_seq: int) -> None:
        """Its records before this one are journaled."""
        session.stream.next_seq = next_seq
        session.flow.commit(next_seq)
        self.ack(session)

    def refuse(self, session: Session, reason: str) -> None:
        """Nothing more is taken of it."""
        session.refused = reason
        self.answer(session, Refused(reason))

    def advance(
        self,
        sessions: Iterable[Session],
        open_values: Mapping[Wanted, int],
        places: Callable[[], waits.Places],
        hurry: Callable[[], None],
        ledger: Callable[[], dict[str, Any]],
    ) -> None:
        """Let flushes and finishes go on, as in `waits.advance`, and tell those that are over."""
        balance: dict[str, Any] | None = None  # of all ranks, and the same for all that end here together
        for session in sessions:
            if not session.waits:
                continue
            for wait in waits.advance(session, open_values, places, hurry):
                if wait.step is not None:
                    self.answer(session, Flushed(wait.next_seq))
                    continue
                balance = balance or ledger()
                self.answer(session, Ledger(complete=True, ledger=balance))
