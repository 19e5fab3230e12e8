"""One run in the daemon: what its ranks say goes into commits, what comes of those goes to ranks and backends."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from asynclog_proto.frames import Ask, Finish, Flush, Heartbeat, Hello, Welcome
from asynclogd import begun, ledger, waits
from asynclogd.answers import Answers, Send
from asynclogd.asks import FACT, Asks
from asynclogd.catalog import JOURNAL, title
from asynclogd.caveats import Caveats
from asynclogd.committer import Committer
from asynclogd.config import DaemonSettings
from asynclogd.entries import Cause, DeadLetter, Input
from asynclogd.fanout import Fanout
from asynclogd.incidents import about
from asynclogd.intake import Intake
from asynclogd.journalcap import JournalCap
from asynclogd.lastvalues import LastValues
from asynclogd.lookup import Lookup
from asynclogd.media.runmedia import RunMedia
from asynclogd.media.workers import Workers
from asynclogd.outlets import Outlets
from asynclogd.points import Item
from asynclogd.recovery import LeftBatch
from asynclogd.reducer import ReducerSettings
from asynclogd.registry import Registry
from asynclogd.roster import Roster
from asynclogd.session import Session
from asynclogd.stages import Stage
from asynclogd.state import HOST_STREAM, PAST, join_payload
from asynclogd.store import Interest, Outcome, RunStore, Wanted, Work

log = logging.getLogger(__name__)

MOST_CREDIT = 8 << 20
"""Bytes: as much as a ring holds."""


class Pipeline:
    """Owns the run's store and sinks between `open` and `close`."""

    def __init__(
        self, run_dir: Path, settings: DaemonSettings, send: Send, workers: Workers, registry: Registry | None = None
    ) -> None:
        """`workers` encode media; they and the `registry` of backends are shared with other runs."""
        self.run_dir = run_dir
        self.project, self.name = run_dir.parent.name, run_dir.name
        self.title = title(run_dir)
        self.facts: dict[str, Any] = {}
        self.last_offset = 0
        self.last_values: LastValues | None = None
        """of each series, where somebody wants to know"""
        self.live_streams: Callable[[], int] = lambda: self._roster.live
        """how many share the daemon's credit: those of all runs, where there are others"""
        self.fanout: Fanout
        self.outcome: Outcome
        self.registry = registry or Registry()
        self._settings = settings
        self._send = send
        self._roster = Roster(self.title)
        self._caveats = Caveats(self.title, settings.max_names)
        fsync = settings.durability == "fsync"
        self.media = RunMedia(run_dir, workers, lambda: self.sessions, self._put_media, fsync=fsync)
        cap = JournalCap(self.title, settings.max_journal_mb)
        self._commits = Committer(
            self.title, settings.commit_interval, cap, self._committed, self._interest, self._broken
        )
        self._answers = Answers(send, self.credit, self.media.freed)
        self._intake = Intake(self.title, self._commits, self._answers)

    @property
    def sessions(self) -> dict[str, Session]:
        """The run's streams, by incarnation."""
        return self._roster.sessions

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open or recover the journal. Raises JournalBusyError and the like when it can't be had."""
        self._store = await self._commits.open(self._open_store)
        try:
            await self._recover()
        except BaseException:
            await self._commits.close()  # or who asks again finds the journal locked, by us
            raise

    async def _recover(self) -> None:
        journal = self._store.journal
        self._roster = Roster(self.title, journal.streams())
        self.last_offset = journal.last_offset
        self.facts = journal.facts()
        self._outlets = Outlets(
            self.run_dir,
            self._settings,
            self.registry,
            self._store,
            self._commits,
            self.media.store.read,
            lambda: self._advance_waits({}),
        )
        self.fanout = self._outlets.fanout
        self._lookup = Lookup(self._read_items, self.last_offset)
        self._asks = Asks(self._lookup, self.facts.get(FACT), self._answers.answer, self.set_fact, self._commits.wake)
        await self._commits.start()

    def _open_store(self) -> RunStore:
        settings = self._settings
        reducing = ReducerSettings(join_deadline=settings.join_deadline, step_deadline=settings.step_deadline)
        return RunStore(self.run_dir / JOURNAL, settings.durability, reducing)

    async def close(self, timeout: float) -> None:
        """Commit what has come, let the sinks flush for at most `timeout` seconds, close everything."""
        await self._asks.close()
        await self._settle_within(timeout)
        await self.media.close(timeout / 2)
        await self._settle_within(timeout)
        await asyncio.to_thread(self.fanout.stop, timeout)
        await asyncio.sleep(0)  # the sinks' last cursors are on their way through the loop
        await self._settle_within(timeout)
        await self._commits.close()

    async def _settle_within(self, timeout: float) -> None:
        try:
            await asyncio.wait_for(self._commits.settle(), timeout)
        except asyncio.TimeoutError:
            text = "run %s: not everything could be committed; the clients keep what was not"
            log.error(text, self.title, extra=about("commit-late", run=self.title))

    # -- frames -------------------------------------------------------------------------------------------------

    async def began(self, hello: Hello) -> float | None:
        """When a process began that others of its rank have overtaken on their way here; None for now. A script that
        logs before its training forks may be heard after its ranks, while a daemon starts.
        """
        if hello.incarnation in self.sessions or not self._roster.of_rank(hello):
            return None
        order = await asyncio.to_thread(begun.order, self.run_dir)
        return begun.overtaken(hello.incarnation, self._roster.of_rank(hello), order)

    def hello(
        self, hello: Hello, peer: bytes | None, notice: str = "", began: float | None = None, *, afar: bool = False
    ) -> Session:
        """A stream opens or opens again; it is welcomed at once, from what is journaled, and told `notice`. Of one that
        is dead already it is known when it `began`. One that was `afar` once stays that: whoever says its hello from
        there speaks for it.
        """
        session = self.sessions.get(hello.incarnation)
        if session is None:
            session, former = self._roster.admit(hello, began)
            for each in (session, *former):  # those may still be heard, and leave files
                self._join(each)
        elif session.stream.state == "dead":
            session.stream.state = "live"
            session.gone = False
            self.media.revived(session.stream.id)
            self._join(session)
        if afar and not session.stream.afar:
            session.stream.afar = True
            self._commits.put_row(session)  # with its first batch or before it
        session.peer, session.heard = peer, time.monotonic()
        self._commits.expected = self._roster.live
        self._intake.begin(session, hello.first_seq, "were journaled once and the journal has gone since")
        if peer is not None:
            step = self.outcome.climb.before_launch(session.stream.launch)
            refuses = f"the journal refuses data: {self.journal_error}" if self.journal_error else ""
            notice = "; ".join(filter(None, [self._roster.odd_world(session.stream), notice, refuses]))
            self._send(peer, Welcome(session.flow.committed, self.credit(), notice, step))
            if self.media.freed(session.stream.id):
                self._answers.ack(session)
        return session

    def _join(self, session: Session) -> None:
        """It has come, or come back, or another process of its rank has come since: then it says nothing of that."""
        payload = join_payload(session.stream, self._settings.max_names, past=self._roster.is_past(session))
        self._commits.put(Input(Cause.JOIN, session.stream.id, payload=payload), session)

    def batch(self, session: Session, first_seq: int, count: int, payload: bytes) -> None:
        """Records of a stream: the new ones go to the journal, the others are acked again."""
        session.heard = time.monotonic()
        self._intake.batch(session, first_seq, count, payload)

    def heartbeat(self, session: Session, beat: Heartbeat) -> None:
        """The rank lives; its counts may have moved."""
        session.heard = time.monotonic()
        session.step = max(session.step, beat.step)
        session.log_times = beat.log_p50_s, beat.log_p99_s
        if beat.issued != session.issued or dict(beat.dropped) != session.dropped:
            session.count(beat.issued, dict(beat.dropped))
            self._commits.put_row(session)

    def finish(self, session: Session, finish: Finish) -> None:
        """The rank waits until all that it said is in the local backends."""
        session.heard = time.monotonic()
        session.count(finish.issued, dict(finish.dropped))
        self._commits.put_row(session)
        waits.finish(session)
        self._commits.wake()

    def flush(self, session: Session, flush: Flush) -> None:
        """The rank waits until what it said so far is in the local backends, and goes on."""
        session.heard = time.monotonic()
        waits.flush(session, flush.next_seq, flush.step)
        self._commits.wake()

    def ask(self, session: Session, ask: Ask) -> None:
        """The rank asks for a reduced value."""
        session.heard = time.monotonic()
        self._asks.put(session, ask)

    def host_rows(self, payload: bytes, count: int) -> None:
        """Records of the daemon itself: host metrics. Nobody keeps them where the journal refuses data."""
        if self._commits.error:
            return
        self._commits.put(Input(Cause.BATCH, HOST_STREAM, count=count, payload=payload))

    async def take_left(self, sessions: Iterable[Session], batches: Iterator[tuple[str, LeftBatch]]) -> None:
        """What dead streams left, by incarnation, in the order in which it is to be taken. Reads it in a thread, a
        little at a time; returns when it is journaled.
        """
        for session in sessions:
            # It could not be read when it died, say: another process of its rank may have come since.
            if session.stream.state == "dead" and self._roster.is_past(session):
                self._join(session)
        await self._intake.take_left(self.sessions, batches)

    async def leave(self, sessions: Iterable[Session]) -> None:
        """Their processes are gone; returns when that is journaled."""
        for session in sessions:
            session.peer = None
            session.waits.clear()
            self._asks.forget(session)
            if session.live:  # who has said END, or was buried before, has left: its rank may have come again since
                session.stream.state = "dead"
                payload = PAST if self._roster.is_past(session) else b""
                self._commits.put(Input(Cause.LEAVE, session.stream.id, payload=payload), session)
            else:
                self._commits.put_row(session)  # that it has ended
        self._commits.expected = self._roster.live
        await self._commits.settle()

    def credit(self) -> int:
        """Bytes that each stream may have unacked, beside one batch: a fair share of what the daemon may hold."""
        return min(MOST_CREDIT, (self._settings.credit_mb << 20) // max(1, self.live_streams()))

    # -- commits ------------------------------------------------------------------------------------------------

    def _interest(self) -> Interest:
        wanted = tuple(wanted for session in self.sessions.values() for wanted in waits.wanted(session))
        return Interest(wanted, self._asks.asked())

    def _broken(self, reason: str) -> None:
        for session in self.sessions.values():
            self._answers.refuse(session, reason)

    def _committed(self, outcome: Outcome, work: Work) -> None:
        self.outcome = outcome
        self._outlets.committed(work.cursors)
        if outcome.items:
            self.last_offset = outcome.items[-1][0]
            self.fanout.append(outcome.items)
            self._lookup.append(outcome.items)
            if self.last_values is not None:
                self.last_values.append(outcome.items)
        self._tell_streams(outcome)
        self._advance_waits(outcome.open_values)
        self._caveats.tell(outcome)
        self._asks.committed(work.facts)
        self._asks.advance(outcome.standings)

    def _tell_streams(self, outcome: Outcome) -> None:
        by_id = self._roster.by_id()
        freed = self.media.committed(outcome.media)
        for number, row in outcome.streams.items():
            if number in by_id:
                self._answers.committed(by_id[number], row.next_seq)
        for number, reason in outcome.refused.items():
            self._intake.refuse(by_id[number], reason)
        for number in outcome.ended:
            by_id[number].stream.state = "ended"
        if outcome.ended:
            self._commits.expected = self._roster.live
        for number, step in outcome.steps.items():
            by_id[number].step = max(by_id[number].step, step)
        for number in freed - outcome.streams.keys():
            self._answers.ack(by_id[number])

    def _put_media(self, entry: Input, letter: DeadLetter | None) -> None:
        if letter is not None:
            self._commits.work.dead_letters.append(letter)
        self._commits.put(entry)

    # -- finishing and flushing ---------------------------------------------------------------------------------

    def _advance_waits(self, open_values: Mapping[Wanted, int]) -> None:
        sessions, hurry = self.sessions.values(), self.fanout.flush_soon
        self._answers.advance(sessions, open_values, self._places, hurry, self.ledger)

    async def _read_items(self, after: int, max_bytes: int) -> list[tuple[int, Item]]:
        """Items from memory, or from the journal without blocking the event loop."""
        recent = self.fanout.items.recent(after, max_bytes)
        if recent is not None:
            return recent
        return await self._commits.in_thread(lambda: self._store.items(after, max_bytes))

    def _places(self) -> waits.Places:
        return waits.Places(self.last_offset, self.fanout.local_offset())

    def ledger(self) -> dict[str, Any]:
        """The run's ledger by now, as plain values."""
        rows = [session.row() for session in self.sessions.values()]
        outcome, cursors = self.outcome, self._outlets.cursors()
        return ledger.balance(rows, outcome.host_values, outcome.journaled, cursors, outcome.dropped)

    # -- sinks --------------------------------------------------------------------------------------------------

    def set_fact(self, name: str, value: object) -> None:
        """Journal a fact of the run (MessagePack-able)."""
        self.facts[name] = value
        self._commits.work.facts[name] = value
        self._commits.wake()

    async def journaled(self) -> None:
        """Wait until what has come in and the facts that were set are journaled."""
        await self._commits.round()

    def add_backend(self, name: str, options: Mapping[str, Any], world: int) -> None:
        """Start delivering to a backend, from where its cursor stands. Raises ConfigError for bad options."""
        self._outlets.add(name, options, world)

    def exchange_backend(self, name: str, options: Mapping[str, Any], world: int) -> None:
        """Go on with a backend whose sink has ended, under other options. Raises ConfigError for bad ones."""
        self._outlets.exchange(name, options, world)

    @property
    def journal_error(self) -> str:
        """Why the journal refuses data, "" while it does not."""
        return self._commits.error

    @property
    def failed(self) -> bool:
        """Whether it journals nothing any more: it can't, or is at the journal's cap."""
        return self._commits.failed or self._commits.full

    @property
    def stages(self) -> Mapping[str, Stage]:
        """How long its commits take."""
        return self._store.stages

    @property
    def live(self) -> bool:
        """Whether any rank may still log."""
        return any(session.live for session in self.sessions.values())

    @property
    def complete(self) -> bool:
        """Whether no rank is live, no step is open, no media are pending, and every backend has everything."""
        if self.live or not self._commits.settled or self.outcome.next_deadline is not None:
            return False
        if not self.media.complete:
            return False
        return self.fanout.offset() >= self.last_offset
