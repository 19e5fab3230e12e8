"""One run in the daemon: its streams, their flow, their finishes, and the sinks that follow its journal."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from asynclog_proto.errors import ProtocolError
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
    Welcome,
)
from asynclog_proto.records import iterate
from asynclogd import launches, ledger, waits
from asynclogd.asks import FACT, Asks
from asynclogd.catalog import JOURNAL, title
from asynclogd.committer import Committer
from asynclogd.config import DaemonSettings
from asynclogd.entries import Cause, Cursor, DeadLetter, Input, Stream
from asynclogd.fanout import Fanout
from asynclogd.incidents import about
from asynclogd.lastvalues import LastValues
from asynclogd.lookup import Lookup
from asynclogd.media.runmedia import RunMedia
from asynclogd.media.workers import Workers
from asynclogd.points import Item
from asynclogd.recovery import LeftBatch
from asynclogd.reducer import ReducerSettings
from asynclogd.registry import CLASS, Registry
from asynclogd.session import Session, new_stream
from asynclogd.stages import Stage
from asynclogd.state import HOST_STREAM, PAST, join_payload
from asynclogd.store import Interest, Outcome, RunStore, Wanted, Work
from asynclogd.superseded import CAUSE
from asynclogd.tally import MOST_FACT_BYTES

log = logging.getLogger(__name__)

Send = Callable[[bytes, Message], None]

LOCAL_CURSOR_SECONDS = 0.25
"""Cursors of local backends wait so long for a commit that is made anyway."""

MOST_CREDIT = 8 << 20
"""Bytes: as much as a ring holds."""

JOURNALED_WITHIN = 60.0
"""s: a sink whose backend starts over waits so long for the journal, and then says it again."""

LEFT_BATCHES = 64
"""Batches of the dead that one commit takes."""


class Pipeline:
    """Owns the run's store and sinks between `open` and `close`."""

    def __init__(
        self, run_dir: Path, settings: DaemonSettings, send: Send, workers: Workers, registry: Registry | None = None
    ) -> None:
        """`workers` encode media; they and the `registry` of backends are shared with other runs."""
        self.run_dir = run_dir
        self.project, self.name = run_dir.parent.name, run_dir.name
        self.title = title(run_dir)
        self.sessions: dict[str, Session] = {}
        self.facts: dict[str, Any] = {}
        self.last_offset = 0
        self.last_values: LastValues | None = None
        """of each series, where somebody wants to know"""
        self.live_streams: Callable[[], int] = lambda: sum(session.live for session in self.sessions.values())
        """how many share the daemon's credit: those of all runs, where there are others"""
        self.fanout: Fanout
        self.outcome: Outcome
        self.registry = registry or Registry()
        self._settings = settings
        self._send = send
        self._cursors: dict[str, Cursor] = {}
        self._superseded: int | None = None
        """values that were dropped for that by the last commit"""
        self._told: set[str] = set()
        fsync = settings.durability == "fsync"
        self.media = RunMedia(run_dir, workers, lambda: self.sessions, self._put_media, fsync=fsync)
        self._commits = Committer(self.title, settings.commit_interval, self._committed, self._interest, self._broken)

    # -- life ---------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open or recover the journal. Raises JournalBusyError and the like when it can't be had."""
        self._loop = asyncio.get_running_loop()
        self._store = await self._commits.open(self._open_store)
        try:
            await self._recover()
        except BaseException:
            await self._commits.close()  # or who asks again finds the journal locked, by us
            raise

    async def _recover(self) -> None:
        journal = self._store.journal
        self.sessions = {stream.incarnation: Session.of(stream) for stream in journal.streams()}
        for session in self.sessions.values():
            session.heard = time.monotonic()  # whoever lives has time to say hello
        self.last_offset = journal.last_offset
        self._cursors = journal.cursors()
        self.facts = journal.facts()
        self.fanout = Fanout(
            self.run_dir,
            lambda after, max_bytes: self._commits.from_other_thread(lambda: self._store.items(after, max_bytes)),
            self.last_offset,
            self._cursor_moved_in_sink,
            self._settings.flush_interval,
            build=self.registry.build,
            read_blob=self.media.store.read,
        )
        self._lookup = Lookup(self._read_items, self.last_offset)
        self._asks = Asks(self._lookup, self.facts.get(FACT), self._answer, self.set_fact, self._commits.wake)
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

    def hello(self, hello: Hello, peer: bytes | None, notice: str = "", began: float | None = None) -> Session:
        """A stream opens or opens again; it is welcomed at once, from what is journaled, and told `notice`. Of one that
        is dead already it is known when it `began`.
        """
        session = self.sessions.get(hello.incarnation)
        if session is None:
            session = self._first_hello(hello, began)
        elif session.stream.state == "dead":
            session.stream.state = "live"
            session.gone = False
            self.media.revived(session.stream.id)
            self._join(session)
        session.peer, session.heard = peer, time.monotonic()
        self._begin(session, hello.first_seq, "were journaled once and the journal has gone since")
        if peer is not None:
            step = self.outcome.climb.before_launch(session.stream.launch)
            notice = "; ".join(filter(None, [self._odd_world(session.stream), notice]))
            self._send(peer, Welcome(session.flow.committed, self.credit(), notice, step))
            if self.media.freed(session.stream.id):
                self._answer(session, self._ack(session))
        return session

    def _odd_world(self, stream: Stream) -> str:
        """A notice when ranks of one launch tell different world sizes, else ""."""
        others = [other.stream for other in self.sessions.values() if other.stream.launch == stream.launch]
        odd = next((other for other in others if other.world_size != stream.world_size), None)
        if odd is None:
            return ""
        text = (
            f"rank {stream.rank} says world_size={stream.world_size}, but rank {odd.rank} of the same launch says "
            f"{odd.world_size}: the larger one counts, and steps wait for ranks that may not exist"
        )
        log.warning("run %s: %s", self.title, text, extra=about("odd-world", run=self.title, rank=stream.rank))
        return text

    def _first_hello(self, hello: Hello, began: float | None) -> Session:
        known = [session.stream for session in self.sessions.values()]
        if began is None:
            began = launches.later(time.time(), hello.rank, known)
        hello = replace(hello, launch=launches.launch_of(hello, began, known))
        number = max((stream.id for stream in known), default=HOST_STREAM) + 1
        session = self.sessions[hello.incarnation] = Session.of(new_stream(number, hello, began))
        self._join(session)
        for former in self.sessions.values():
            # It may still be heard, and its files are taken up when its process has gone.
            if former.live and launches.has_come_again(former.stream, [session.stream]):
                self._join(former)
        return session

    def _join(self, session: Session) -> None:
        """It has come, or come back, or another process of its rank has come since: then it says nothing of that."""
        payload = join_payload(session.stream, self._settings.max_names, past=self._is_past(session))
        self._commits.put(Input(Cause.JOIN, session.stream.id, payload=payload), session)

    def _is_past(self, session: Session) -> bool:
        return launches.has_come_again(session.stream, (each.stream for each in self.sessions.values()))

    def _begin(self, session: Session, first_seq: int, why: str) -> None:
        lost = session.flow.hello(first_seq)
        if lost:
            session.stream.lost += lost
            rank = session.stream.rank
            told = about("records-lost", run=self.title, rank=rank, count=lost)
            log.error("run %s: rank %d: %d records are lost: they %s", self.title, rank, lost, why, extra=told)

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
            self._answer(session, self._ack(session))
        else:
            self._put_batch(session, first_seq, count, payload, receipt.skip)

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
        """Records of the daemon itself: host metrics."""
        self._commits.put(Input(Cause.BATCH, HOST_STREAM, count=count, payload=payload))

    async def take_left(self, batches: Iterator[tuple[str, LeftBatch]]) -> None:
        """What dead streams left, by incarnation, in the order in which it is to be taken. Reads it in a thread, a
        little at a time; returns when it is journaled.
        """
        await self._commits.settle()
        while some := await asyncio.to_thread(lambda: list(islice(batches, LEFT_BATCHES))):
            for incarnation, batch in some:
                session = self.sessions[incarnation]
                if batch.first_seq > session.flow.next_seq:
                    await self._commits.settle()
                    self._begin(session, batch.first_seq, "are missing in what the rank left (deleted or spoiled?)")
                receipt = session.flow.batch(batch.first_seq, batch.count)
                if receipt.take:
                    self._put_batch(session, batch.first_seq, batch.count, batch.payload, receipt.skip)
            await self._commits.settle()

    async def leave(self, sessions: Iterable[Session]) -> None:
        """Their processes are gone; returns when that is journaled."""
        for session in sessions:
            session.peer = None
            session.waits.clear()
            self._asks.forget(session)
            if session.live:  # who has said END, or was buried before, has left: its rank may have come again since
                session.stream.state = "dead"
                payload = PAST if self._is_past(session) else b""
                self._commits.put(Input(Cause.LEAVE, session.stream.id, payload=payload), session)
            else:
                self._commits.put_row(session)  # that it has ended
        await self._commits.settle()

    def _put_batch(self, session: Session, first_seq: int, count: int, payload: bytes, skip: int) -> None:
        if skip:
            try:
                payload, first_seq, count = _without(payload, skip), first_seq + skip, count - skip
            except ProtocolError as error:
                self._refuse(session, str(error))
                return
        self._commits.put(Input(Cause.BATCH, session.stream.id, first_seq, count, payload), session)

    def _refuse(self, session: Session, reason: str) -> None:
        """It sent what can't be decoded: nothing more is taken of it."""
        session.refused = reason
        self._answer(session, Refused(reason))
        rank = session.stream.rank
        told = about("stream-refused", run=self.title, rank=rank)
        log.error("run %s: rank %d is refused: %s", self.title, rank, reason, extra=told)

    def _answer(self, session: Session, message: Message) -> None:
        if session.peer is not None:
            self._send(session.peer, message)

    def credit(self) -> int:
        """Bytes that each stream may have unacked, beside one batch: a fair share of what the daemon may hold."""
        return min(MOST_CREDIT, (self._settings.credit_mb << 20) // max(1, self.live_streams()))

    # -- commits ------------------------------------------------------------------------------------------------

    def _interest(self) -> Interest:
        wanted = tuple(wanted for session in self.sessions.values() for wanted in waits.wanted(session))
        return Interest(wanted, self._asks.asked())

    def _broken(self, reason: str) -> None:
        for session in self.sessions.values():
            session.refused = reason
            self._answer(session, Refused(reason))

    def _committed(self, outcome: Outcome, work: Work) -> None:
        self._tell_of_superseded(outcome.dropped.get(CAUSE, 0))
        self.outcome = outcome
        self._cursors.update(work.cursors)
        if outcome.items:
            self.last_offset = outcome.items[-1][0]
            self.fanout.append(outcome.items)
            self._lookup.append(outcome.items)
            if self.last_values is not None:
                self.last_values.append(outcome.items)
        by_id = {session.stream.id: session for session in self.sessions.values()}
        freed = self.media.committed(outcome.media)
        for number, row in outcome.streams.items():
            if number in by_id:
                self._acknowledge(by_id[number], row.next_seq)
        for number, reason in outcome.refused.items():
            self._refuse(by_id[number], reason)
        for number in outcome.ended:
            by_id[number].stream.state = "ended"
        for number, step in outcome.steps.items():
            by_id[number].step = max(by_id[number].step, step)
        for number in freed - outcome.streams.keys():
            self._answer(by_id[number], self._ack(by_id[number]))
        self._advance_waits(outcome.open_values)
        self._tell_of_full(outcome)
        self._asks.committed(work.facts)
        self._asks.advance(outcome.standings)

    def _tell_of_superseded(self, count: int) -> None:
        new = 0 if self._superseded is None else count - self._superseded
        self._superseded = count
        if new:
            text = (
                "run %s: %d values of an earlier launch are dropped and counted (superseded): a newer one has begun "
                "to log these steps. End the earlier one, or give one of them another name"
            )
            log.warning(text, self.title, new, extra=about("superseded", run=self.title, cause=CAUSE, count=new))

    def _tell_of_full(self, outcome: Outcome) -> None:
        """Once in this daemon's life for each of what is at its cap."""
        told = []
        if outcome.excess:
            text = f"it has {self._settings.max_names} different names, as many as it may (daemon.max_names)"
            told.append(("names-full", f"{text}: values of others are dropped, of {outcome.excess!r} for one"))
        if outcome.facts_dropped:
            text = f"its params and summary take {MOST_FACT_BYTES >> 20} MiB, as much as they may: others are dropped"
            told.append(("facts-full", text))
        for incident, text in told:
            if incident not in self._told:
                self._told.add(incident)
                log.warning("run %s: %s", self.title, text, extra=about(incident, run=self.title))

    def _acknowledge(self, session: Session, next_seq: int) -> None:
        session.stream.next_seq = next_seq
        session.flow.commit(next_seq)
        self._answer(session, self._ack(session))

    def _ack(self, session: Session) -> Ack:
        return Ack(session.flow.committed, self.credit(), self.media.freed(session.stream.id))

    def _put_media(self, entry: Input, letter: DeadLetter | None) -> None:
        if letter is not None:
            self._commits.work.dead_letters.append(letter)
        self._commits.put(entry)

    # -- finishing and flushing ---------------------------------------------------------------------------------

    def _advance_waits(self, open_values: Mapping[Wanted, int]) -> None:
        balance: dict[str, Any] | None = None  # of all ranks, and the same for all that end here together
        for session in self.sessions.values():
            if not session.waits:
                continue
            for wait in waits.advance(session, open_values, self._places, self.fanout.flush_soon):
                if wait.step is not None:
                    self._answer(session, Flushed(wait.next_seq))
                    continue
                balance = balance or self.ledger()
                self._answer(session, Ledger(complete=True, ledger=balance))

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
        cursors = {**self._cursors, **self.fanout.cursors()}
        return ledger.balance(rows, self.outcome.host_values, self.outcome.journaled, cursors, self.outcome.dropped)

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
        self.fanout.add(name, self._durable(name, options), world, self._cursors.get(name, Cursor()))

    def exchange_backend(self, name: str, options: Mapping[str, Any], world: int) -> None:
        """Go on with a backend whose sink has ended, under other options. Raises ConfigError for bad ones."""
        self.fanout.exchange(name, self._durable(name, options), world)

    def _durable(self, name: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._settings.durability != "fsync":
            return options
        config = self.registry.find(name, options.get(CLASS)).Config
        # After a power loss no cursor may be ahead of its file.
        return {"fsync": True, **options} if "fsync" in config.__struct_fields__ else options

    def _cursor_moved_in_sink(self, name: str, cursor: Cursor, dead_letters: list[DeadLetter]) -> None:
        self._loop.call_soon_threadsafe(self._cursor_moved, name, cursor, dead_letters)
        if cursor.position is None:
            asyncio.run_coroutine_threadsafe(self._commits.round(), self._loop).result(JOURNALED_WITHIN)

    def _cursor_moved(self, name: str, cursor: Cursor, dead_letters: list[DeadLetter]) -> None:
        self._commits.work.cursors[name] = cursor
        self.fanout.moved(name, cursor)
        self._commits.work.dead_letters.extend(dead_letters)
        # After a crash a local file is cut to the cursor that is journaled; others would get again what is after it.
        self._commits.gather(LOCAL_CURSOR_SECONDS if self.fanout.sinks[name].local else 0.0)
        self._advance_waits({})

    @property
    def journal_error(self) -> str:
        """Why the journal refuses data, "" while it does not."""
        return self._commits.error

    @property
    def failed(self) -> bool:
        """Whether it journals nothing any more."""
        return self._commits.failed

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


def _without(payload: bytes, skip: int) -> bytes:
    """The payload without its first records. Raises ProtocolError when it holds no others."""
    begin = next((begin for begin, _ in islice(iterate(payload), skip, None)), None)
    if begin is None:
        raise ProtocolError(f"a batch of more records than its payload holds: {skip} or fewer")
    return payload[begin:]
