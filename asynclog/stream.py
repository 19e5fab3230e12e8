"""The client's side of a conversation with the daemon, pure: messages and the time in, messages out."""

from __future__ import annotations

from dataclasses import replace
from typing import Protocol

from asynclog.barriers import Barriers
from asynclog.logtimes import LogTimes
from asynclog.questions import Questions
from asynclog_proto.beats import next_beat
from asynclog_proto.flow import Pending, SendFlow
from asynclog_proto.frames import (
    Ack,
    Ask,
    Finish,
    Flush,
    Flushed,
    Heartbeat,
    Hello,
    Ledger,
    Message,
    Refused,
    Reset,
    Value,
    Welcome,
)

HELLO_S, MOST_HELLO_S = 0.5, 4.0
HEARTBEAT_S, FINISHING_HEARTBEAT_S, DOZING_HEARTBEAT_S = 2.0, 0.5, 4.0
SILENCE_S = 5.0


class Counts(Protocol):
    """Logged values since the stream began, as the ring counts them."""

    @property
    def issued(self) -> int:
        """All of them."""

    @property
    def dropped(self) -> dict[str, int]:
        """Those that never became a record, by cause."""


class Stream:
    """`flow` holds the batches, `barriers` the calls that wait, `questions` the futures. Times are monotonic seconds; a
    message of `due` that was sent is told to `sent`.
    """

    def __init__(self, hello: Hello, flow: SendFlow, barriers: Barriers, questions: Questions) -> None:
        self.flow = flow
        self.barriers = barriers
        self.questions = questions
        self.refused: str | None = None
        self.notice = ""
        self.held_up = ""
        """why the daemon that answers does not take the stream now"""
        self.ledger: Ledger | None = None
        self.media = 0
        """the position of the outbox before which the daemon needs nothing"""
        self.finishing = False
        self.step: int | None = None
        """the highest of the run before this launch, once the daemon has told"""
        self._hello = hello
        self._hello_at = 0.0
        self._hello_wait = HELLO_S
        self._heartbeat_at = 0.0
        self._finish_sent = False
        self._finish_at = 0.0
        self._heard = 0.0

    def receive(self, message: Message, now: float) -> list[Pending]:
        """Take a message of the daemon. Returns the batches that are journaled now."""
        self._heard = now
        if isinstance(message, Welcome):
            self._hello_wait = HELLO_S
            self._heartbeat_at = now
            self._finish_sent = False
            self.notice = message.notice
            self.held_up = ""
            self.step = message.step
            self.barriers.ask_again()
            self.questions.ask_again()
            return self.flow.welcome(message.next_seq, message.credit)
        if isinstance(message, Ack):
            self.media = max(self.media, message.media)
            return self.flow.ack(message.next_seq, message.credit)
        if isinstance(message, Reset):
            self.lost(now)
            self.held_up = message.notice
            self.notice = message.notice or self.notice
        elif isinstance(message, Refused):
            self.flow.close()
            self.refused = message.why
            self.give_up()
        elif isinstance(message, Ledger):
            self.ledger = message
        elif isinstance(message, Flushed):
            self.barriers.answered(message.next_seq)
        elif isinstance(message, Value):
            self.questions.answered(message)
        return []

    def give_up(self) -> None:
        """The stream is refused: nobody answers any more."""
        self.barriers.give_up(reached=False)
        self.questions.give_up(f"the daemon refuses this run: {self.refused}")

    def lost(self, now: float) -> None:
        """The daemon is gone or does not know us: greet it, but not in a tight loop."""
        if self.flow.open:
            self._hello_at = now + 0.02
        self.flow.close()

    def due(self, now: float, step: int, counts: Counts, times: LogTimes) -> Message | None:
        """What is to be said now besides batches, if anything."""
        if self.refused is not None:
            return None
        flow = self.flow
        if not flow.open:
            return replace(self._hello, first_seq=flow.first_seq) if now >= self._hello_at else None
        if flow.in_flight and now - self._heard > SILENCE_S:
            self._heard = now
            return replace(self._hello, first_seq=flow.first_seq)
        if self.finishing and not flow.queue and (not self._finish_sent or now - self._finish_at > SILENCE_S):
            return Finish(counts.issued, counts.dropped)
        if now >= self._heartbeat_at:
            return Heartbeat(max(step, -1), counts.issued, counts.dropped, *times.quantiles())
        return self.barriers.due(flow.acked_seq) or self.questions.due(flow.acked_seq)

    def missing(self, next_seq: int, step: int) -> str:
        """Why the records before `next_seq`, of steps up to `step`, are not in the files, for a person."""
        if self.refused is not None:
            return f"the daemon refuses this run: {self.refused}"
        if self.held_up:
            return self.held_up
        if not self.flow.open:
            return "no daemon answers; the records are in the ring or the spool, and are sent when one does"
        if self.flow.acked_seq < next_seq:
            return f"{next_seq - self.flow.acked_seq} records are not journaled yet"
        return f"all is journaled, but not in the files yet: other ranks are not past step {step}, or a backend is slow"

    def untaken(self, endpoint: str) -> str:
        """Why the daemon at `endpoint` did not take everything, for a person."""
        if not self._heard:
            return f"no daemon answered at {endpoint}"
        return self.refused or self.held_up or "the daemon did not take everything in time"

    def sent(self, message: Message, now: float) -> None:
        """`message` is on its way."""
        if isinstance(message, Hello):
            self._hello_at = now + self._hello_wait
            self._hello_wait = min(2 * self._hello_wait, MOST_HELLO_S)
        elif isinstance(message, Finish):
            self._finish_sent, self._finish_at = True, now
        elif isinstance(message, (Flush, Ask)):
            if isinstance(message, Flush):
                self.barriers.sent(message)
            else:
                self.questions.sent()
            self._heartbeat_at = min(self._heartbeat_at, now + FINISHING_HEARTBEAT_S)
            return
        # Someone waits: a daemon that has forgotten us is to say so soon.
        waits = self.finishing or self.barriers or self.questions
        # All ranks of a machine at the same moments, so that the daemon wakes for them together.
        self._heartbeat_at = now + FINISHING_HEARTBEAT_S if waits else next_beat(now, HEARTBEAT_S)

    def sent_batch(self, now: float) -> None:
        """The first batch in flight starts the wait for an ack."""
        if self.flow.in_flight == 1:
            self._heard = now

    @property
    def finished(self) -> bool:
        """Everything was said, and the daemon told the run's ledger."""
        return self.ledger is not None and self.ledger.complete
