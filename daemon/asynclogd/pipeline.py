"""One run in the daemon: its streams, its store and its sinks, from a frame to an ack and on to the backends.

The event loop owns everything here but the store, whose thread commits one `Work` at a time. While a commit runs,
the next one gathers: many ranks share one transaction, and nobody waits for that on purpose.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from asynclog_proto.frames import Ack, Finish, Heartbeat, Hello, Ledger, Message, Refused, Reset, Welcome
from asynclog_proto.records import iterate
from asynclogd import ledger
from asynclogd.config import DaemonSettings
from asynclogd.entries import Cause, Cursor, DeadLetter, Input
from asynclogd.fanout import Fanout
from asynclogd.recovery import Left
from asynclogd.reducer import ReducerSettings
from asynclogd.session import Session, new_stream
from asynclogd.state import HOST_STREAM, join_payload
from asynclogd.store import Outcome, RunStore, Work

log = logging.getLogger(__name__)

Send = Callable[[bytes, Message], None]

RETRY_SECONDS = 1.0
"""How long to wait before a journal that refused a commit is tried again."""


class Pipeline:
    """Owns the run's store and sinks between `open` and `close`."""

    def __init__(self, run_dir: Path, settings: DaemonSettings, send: Send) -> None:
        self.run_dir = run_dir
        self.project, self.name = run_dir.parent.name, run_dir.name
        self.sessions: dict[str, Session] = {}
        self.fanout: Fanout
        self.journal_error = ""
        self.outcome: Outcome
        self._settings = settings
        self._send = send
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"journal-{self.name}")
        self._work = Work()
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._now = 0.0
        self.last_offset = 0
        self._host_seq = 0

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open or recover the journal. Raises JournalBusyError and the like when it can't be had."""
        self._loop = asyncio.get_running_loop()
        self._store = await self._in_thread(self._open_store)
        journal = self._store.journal
        for stream in journal.streams():
            if stream.id != HOST_STREAM:
                self.sessions[stream.incarnation] = Session.of(stream)
            else:
                self._host_seq = stream.next_seq
        self.last_offset = journal.last_offset
        self._cursors = journal.cursors()
        self.facts = journal.facts()
        self.fanout = Fanout(
            self.run_dir,
            self._read_items,
            self.last_offset,
            self._cursor_moved_in_sink,
            self._settings.flush_interval,
        )
        self._committed(await self._in_thread(self._store.commit, Work()), Work())
        self._task = self._loop.create_task(self._run(), name=f"run {self.name}")

    def _open_store(self) -> RunStore:
        reducing = ReducerSettings(
            join_deadline=self._settings.join_deadline, step_deadline=self._settings.step_deadline
        )
        return RunStore(self.run_dir / "journal.sqlite", self._settings.durability, reducing)

    async def close(self, timeout: float) -> None:
        """Commit what has come, let the sinks flush for at most `timeout` seconds, close everything."""
        await self.settle(timeout)
        await asyncio.to_thread(self.fanout.stop, timeout)
        await asyncio.sleep(0)  # the sinks' last cursors are on their way through the loop
        await self.settle(timeout)
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self._in_thread(self._store.close)
        except (sqlite3.Error, OSError) as error:
            log.warning("run %s: the journal closed with an error: %s", self.name, error)
        self._thread.shutdown()

    async def settle(self, timeout: float) -> bool:
        """Wait until everything that has come in is committed; whether it is."""
        try:
            await asyncio.wait_for(self._settled(), timeout)
        except asyncio.TimeoutError:
            return False
        return True

    async def _settled(self) -> None:
        while self._work or not self._idle.is_set():
            self._wake.set()
            self._idle.clear()
            await self._idle.wait()

    async def _in_thread(self, call: Callable[..., Any], *arguments: object) -> Any:
        return await self._loop.run_in_executor(self._thread, call, *arguments)

    # -- frames -------------------------------------------------------------------------------------------------

    def hello(self, hello: Hello, peer: bytes | None) -> Session:
        """A stream opens or opens again; it is welcomed at once, from what is journaled."""
        session = self.sessions.get(hello.incarnation)
        if session is None:
            number = max((s.stream.id for s in self.sessions.values()), default=HOST_STREAM) + 1
            session = self.sessions[hello.incarnation] = Session.of(new_stream(number, hello))
            self._put(Input(Cause.JOIN, number, payload=join_payload(session.stream)), session)
        elif session.stream.state == "dead":
            session.stream.state = "live"
            self._put(Input(Cause.JOIN, session.stream.id, payload=join_payload(session.stream)), session)
        session.peer, session.heard = peer, time.monotonic()
        if session.flow.next_seq == session.flow.committed:
            self._begin(session, hello.first_seq)
        elif session.flow.next_seq < hello.first_seq:
            # Only a journal that was thrown away can be behind the client, and then nothing is uncommitted.
            log.error("run %s: rank %d is ahead of its journal", self.name, session.stream.rank)
        if peer is not None:
            self._send(peer, Welcome(session.flow.committed, self.credit()))
        return session

    def _begin(self, session: Session, first_seq: int) -> None:
        lost = session.flow.hello(first_seq)
        if lost:
            session.stream.lost += lost
            log.error(
                "run %s: rank %d: %d records were journaled once and the journal has gone since",
                self.name, session.stream.rank, lost,
            )  # fmt: skip

    def batch(self, session: Session, first_seq: int, count: int, payload: bytes) -> None:
        """Records of a stream: the new ones go to the journal, the others are acked again."""
        session.heard = time.monotonic()
        if session.refused is not None:
            self._answer(session, Refused(session.refused))
            return
        receipt = session.flow.batch(first_seq, count)
        if receipt.gap:
            self._answer(session, Reset(f"expected record {session.flow.next_seq}, got {first_seq}"))
        elif not receipt.take:
            self._answer(session, Ack(session.flow.committed, self.credit()))
        else:
            self._put_batch(session, first_seq, count, payload, receipt.skip)

    def heartbeat(self, session: Session, beat: Heartbeat) -> None:
        """The rank lives; its counts may have moved."""
        session.heard = time.monotonic()
        session.step = max(session.step, beat.step)
        if beat.issued != session.issued or dict(beat.dropped) != session.dropped:
            session.count(beat.issued, dict(beat.dropped))
            self._work.streams[session.stream.id] = session.row()

    def finish(self, session: Session, finish: Finish) -> None:
        """The rank waits until all that it said is in the local backends."""
        session.heard = time.monotonic()
        session.count(finish.issued, dict(finish.dropped))
        self._work.streams[session.stream.id] = session.row()
        session.finishing = True
        self._wake.set()

    def host_rows(self, payload: bytes, count: int) -> None:
        """Records of the daemon itself: host metrics."""
        self._put(Input(Cause.BATCH, HOST_STREAM, self._host_seq, count, payload))
        self._host_seq += count

    async def take_left(self, session: Session, lefts: Iterable[Left]) -> None:
        """What a dead stream left in ring and spool; then the stream is dead. Returns when it is journaled."""
        await self._settled()
        for left in lefts:
            for batch in left.batches:
                if batch.first_seq > session.flow.next_seq:
                    await self._settled()
                    self._begin(session, batch.first_seq)
                receipt = session.flow.batch(batch.first_seq, batch.count)
                if receipt.take:
                    self._put_batch(session, batch.first_seq, batch.count, batch.payload, receipt.skip)
            session.count(left.issued, left.dropped or {})
        await self._settled()
        self.leave(session)
        await self._settled()

    def leave(self, session: Session) -> None:
        """The stream's process is gone. Whether it had said END, the next commit tells."""
        if session.live:
            session.stream.state = "dead"
        session.peer = None
        self._put(Input(Cause.LEAVE, session.stream.id), session)

    def _put_batch(self, session: Session, first_seq: int, count: int, payload: bytes, skip: int) -> None:
        if skip:
            payload, first_seq, count = _without(payload, skip), first_seq + skip, count - skip
        self._put(Input(Cause.BATCH, session.stream.id, first_seq, count, payload), session)

    def _put(self, entry: Input, session: Session | None = None) -> None:
        self._work.inputs.append(entry)
        if session is not None:
            self._work.streams[session.stream.id] = session.row()
        self._idle.clear()
        self._wake.set()

    def _answer(self, session: Session, message: Message) -> None:
        if session.peer is not None:
            self._send(session.peer, message)

    def credit(self) -> int:
        """Bytes that each stream may have unacked: a fair share of what the daemon may hold."""
        live = sum(session.live for session in self.sessions.values())
        return max(256 << 10, min(8 << 20, (self._settings.credit_mb << 20) // max(1, live)))

    # -- commits ------------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while True:
            self._idle.set()
            await self._wait_for_work()
            self._idle.clear()
            self._wake.clear()
            if self._due():
                self._work.inputs.append(Input(Cause.TICK))
            if self._work or self._waiting():
                await self._commit(self._take())
                await asyncio.sleep(self._settings.commit_interval)

    async def _wait_for_work(self) -> None:
        deadline = self.outcome.next_deadline
        timeout = None if deadline is None else max(0.0, deadline - time.time())
        try:
            await asyncio.wait_for(self._wake.wait(), timeout)
        except asyncio.TimeoutError:
            return

    def _due(self) -> bool:
        deadline = self.outcome.next_deadline
        return deadline is not None and time.time() >= deadline

    def _take(self) -> Work:
        work, self._work = self._work, Work()
        # All inputs of one commit share one time, later than that of the one before: replay finds the groups by it.
        self._now = max(time.time(), self._now + 1e-6)
        work.inputs = [
            Input(entry.cause, entry.stream, entry.first_seq, entry.count, entry.payload, self._now)
            for entry in work.inputs
        ]
        work.waiting = tuple(self._waiting())
        return work

    def _waiting(self) -> list[int]:
        return [s.stream.id for s in self.sessions.values() if s.finishing and s.target is None]

    async def _commit(self, work: Work) -> None:
        call: Callable[[], Outcome] = lambda: self._store.commit(work)  # noqa: E731 - replaced by retry below
        while True:
            try:
                outcome = await self._in_thread(call)
            except (sqlite3.Error, OSError) as error:
                if not self.journal_error:
                    log.error("run %s: the journal refuses: %s; trying again each second", self.name, error)
                self.journal_error = str(error)
                await asyncio.sleep(RETRY_SECONDS)
                call = self._store.retry
                continue
            if self.journal_error:
                log.warning("run %s: the journal takes data again", self.name)
                self.journal_error = ""
            self._committed(outcome, work)
            return

    def _committed(self, outcome: Outcome, work: Work) -> None:
        self.outcome = outcome
        self._cursors.update(work.cursors)
        self.facts.update(work.facts)
        if outcome.items:
            self.last_offset = outcome.items[-1][0]
            self.fanout.append(outcome.items)
        by_id = {session.stream.id: session for session in self.sessions.values()}
        for number, row in outcome.streams.items():
            if number in by_id:
                self._acknowledge(by_id[number], row.next_seq)
        for number, reason in outcome.refused.items():
            by_id[number].refused = reason
            self._answer(by_id[number], Refused(reason))
            log.error("run %s: rank %d is refused: %s", self.name, by_id[number].stream.rank, reason)
        for number in outcome.ended:
            by_id[number].stream.state = "ended"
        self._advance_finishes(outcome.open_values)

    def _acknowledge(self, session: Session, next_seq: int) -> None:
        session.stream.next_seq = next_seq
        session.flow.commit(next_seq)
        self._answer(session, Ack(session.flow.committed, self.credit()))

    # -- finishing ----------------------------------------------------------------------------------------------

    def _advance_finishes(self, open_values: Mapping[int, int]) -> None:
        for session in self.sessions.values():
            if not session.finishing:
                continue
            everything_in = session.stream.state == "ended" and open_values.get(session.stream.id, 1) == 0
            if session.target is None and everything_in:
                session.target = self.last_offset
                self.fanout.flush_soon()
            if session.target is not None and self.fanout.local_offset() >= session.target:
                session.finishing = False
                self._answer(session, Ledger(complete=True, ledger=self.ledger()))

    def ledger(self) -> dict[str, Any]:
        """The run's ledger by now, as plain values."""
        rows = [session.row() for session in self.sessions.values()]
        moved = {name: status.cursor for name, status in self.fanout.statuses().items()}
        return ledger.balance(
            rows, self.outcome.host_values, self.outcome.journaled, {**self._cursors, **moved}
        )

    # -- sinks --------------------------------------------------------------------------------------------------

    def set_fact(self, name: str, value: object) -> None:
        """Journal a fact of the run (MessagePack-able)."""
        self._work.facts[name] = value
        self._wake.set()

    def add_backend(self, name: str, options: Mapping[str, Any], world: int) -> None:
        """Start delivering to a backend, from where its cursor stands. Raises ConfigError for bad options."""
        self.fanout.add(name, options, world, self._cursors.get(name, Cursor()))

    def _read_items(self, after: int, max_bytes: int) -> list[Any]:
        future = self._thread.submit(self._store.items, after, max_bytes)
        return future.result()

    def _cursor_moved_in_sink(self, name: str, cursor: Cursor, dead_letters: list[DeadLetter]) -> None:
        self._loop.call_soon_threadsafe(self._cursor_moved, name, cursor, dead_letters)

    def _cursor_moved(self, name: str, cursor: Cursor, dead_letters: list[DeadLetter]) -> None:
        self._work.cursors[name] = cursor
        self._work.dead_letters.extend(dead_letters)
        self._idle.clear()
        self._wake.set()
        self._advance_finishes({})

    @property
    def live(self) -> bool:
        """Whether any rank may still log."""
        return any(session.live for session in self.sessions.values())

    @property
    def complete(self) -> bool:
        """Whether no rank is live, no step is open, and every backend has everything."""
        if self.live or self._work or not self._idle.is_set() or self.outcome.next_deadline is not None:
            return False
        return self.fanout.offset() >= self.last_offset


def _without(payload: bytes, skip: int) -> bytes:
    begin = next(islice(iterate(payload), skip, None))[0]
    return payload[begin:]
