"""Records on their way from a run's streams into its commits: each once and in order, whether sent or left behind."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Mapping
from itertools import islice

from asynclog_proto.errors import ProtocolError
from asynclog_proto.frames import Reset
from asynclog_proto.records import iterate
from asynclogd.answers import Answers
from asynclogd.committer import Committer
from asynclogd.entries import Cause, Input
from asynclogd.incidents import about
from asynclogd.recovery import LeftBatch
from asynclogd.session import Session

log = logging.getLogger(__name__)

LEFT_BATCHES = 64
"""Batches of the dead that one commit takes."""


class Intake:
    """Takes what is new of each stream."""

    def __init__(self, title: str, commits: Committer, answers: Answers) -> None:
        self._title, self._commits, self._answers = title, commits, answers

    def begin(self, session: Session, first_seq: int, why: str = "") -> None:
        """The stream goes on with this record; those before it that nobody has are lost, and `why` is logged."""
        lost = session.flow.hello(first_seq)
        if lost:
            session.stream.lost += lost
            rank = session.stream.rank
            told = about("records-lost", run=self._title, rank=rank, count=lost)
            log.error("run %s: rank %d: %d records are lost: they %s", self._title, rank, lost, why, extra=told)

    def batch(self, session: Session, first_seq: int, count: int, payload: bytes) -> None:
        """Records of a stream: the new ones go to the journal, the others are acked again."""
        if session.refused is not None:
            self._answers.refuse(session, session.refused)
            return
        receipt = session.flow.batch(first_seq, count)
        if receipt.gap:
            self._answers.answer(session, Reset(f"expected record {session.flow.next_seq}, got {first_seq}"))
        elif not receipt.take:
            self._answers.ack(session)
        else:
            self._put(session, LeftBatch(first_seq, count, payload), receipt.skip)

    async def take_left(self, sessions: Mapping[str, Session], batches: Iterator[tuple[str, LeftBatch]]) -> None:
        """What dead streams left, by incarnation, in the order in which it is to be taken. Reads it in a thread, a
        little at a time; returns when it is journaled, or can't be: then no more is read.
        """
        await self._commits.settle()
        while not self._commits.full and (some := await asyncio.to_thread(lambda: list(islice(batches, LEFT_BATCHES)))):
            for incarnation, batch in some:
                session = sessions[incarnation]
                if batch.first_seq > session.flow.next_seq:
                    await self._commits.settle()
                    self.begin(session, batch.first_seq, "are missing in what the rank left (deleted or spoiled?)")
                receipt = session.flow.batch(batch.first_seq, batch.count)
                if receipt.take:
                    self._put(session, batch, receipt.skip)
            await self._commits.settle()

    def refuse(self, session: Session, reason: str) -> None:
        """It sent what can't be decoded: nothing more is taken of it."""
        self._answers.refuse(session, reason)
        rank = session.stream.rank
        told = about("stream-refused", run=self._title, rank=rank)
        log.error("run %s: rank %d is refused: %s", self._title, rank, reason, extra=told)

    def _put(self, session: Session, batch: LeftBatch, skip: int) -> None:
        payload = batch.payload
        try:
            payload = _without(payload, skip) if skip else payload
        except ProtocolError as error:
            self.refuse(session, str(error))
            return
        first_seq, count = batch.first_seq + skip, batch.count - skip
        self._commits.put_batch(Input(Cause.BATCH, session.stream.id, first_seq, count, payload), session)


def _without(payload: bytes, skip: int) -> bytes:
    """The payload without its first records. Raises ProtocolError when it holds no others."""
    begin = next((begin for begin, _ in islice(iterate(payload), skip, None)), None)
    if begin is None:
        raise ProtocolError(f"a batch of more records than its payload holds: {skip} or fewer")
    return payload[begin:]
