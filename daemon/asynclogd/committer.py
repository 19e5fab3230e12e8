"""A run's commits: gathers what comes in, commits it in the store's thread, hands on what came of it.

What comes in waits an interval for what other ranks send, unless all have sent or someone waits for it: where training
keeps all cores busy, a step pays for each commit. A disk that refuses is tried again each second: nothing is acked
meanwhile, so the clients keep their data. At the journal's cap it is the same, but that backends go on.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

from asynclogd.entries import Cause, Input
from asynclogd.incidents import about
from asynclogd.journal import JournalError
from asynclogd.journalcap import JournalCap
from asynclogd.session import Session
from asynclogd.store import Interest, Outcome, RunStore, Work

log = logging.getLogger(__name__)

RETRY_SECONDS = 1.0

T = TypeVar("T")


class Committer:
    """Owns the store, its thread and the work that waits, from `open` to `close`.

    On the event loop it calls `committed(outcome, work)` after each commit, `interest()` for what
    else an outcome should tell, and `broken(reason)` when the store can't go on at all.
    """

    def __init__(
        self,
        name: str,
        interval: float,
        cap: JournalCap,
        committed: Callable[[Outcome, Work], None],
        interest: Callable[[], Interest],
        broken: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.work = Work()
        self.next_deadline: float | None = None
        self.expected = 0
        """of how many streams batches may come"""
        self._name, self._interval, self._cap = name, interval, cap
        self._refusal = ""
        self._committed, self._interest, self._broken = committed, interest, broken
        self._monotonic = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"journal-{name}")
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._gathering: asyncio.Handle | None = None
        self._gathered_at = 0.0
        self._began = 0.0
        """when the last commit did, by the event loop's clock"""
        self._committing = self._failed = False
        self._round = asyncio.Event()
        """set, and replaced, when the work that was there has been seen to"""

    async def open(self, make: Callable[[], RunStore]) -> RunStore:
        """Make the store in its thread. Raises what `make` raises."""
        try:
            self._store = store = await self.in_thread(make)
        except BaseException:
            self._thread.shutdown(wait=False)
            raise
        # Deadlines must not expire because no daemon was there, nor because someone set the computer's clock.
        self._now = store.last_now
        self._clock_offset = self._now - self._monotonic()
        return store

    async def start(self) -> None:
        """Commit once, for what recovery left to be told, and then as work comes."""
        await self._commit(self._take())
        self._task = asyncio.create_task(self._run(), name=f"commits of {self._name}")

    async def close(self) -> None:
        """Stop committing, and close the store. What was not committed is not acked."""
        self._stop_gathering()
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        try:
            await self.in_thread(self._store.close)
        except (sqlite3.Error, OSError) as error:
            told = about("journal-close", run=self._name, cause=error)
            log.warning("run %s: the journal closed with an error: %s", self._name, error, extra=told)
        self._thread.shutdown()

    def put(self, entry: Input, session: Session | None = None) -> None:
        """Something happened; with a session, its row is journaled too."""
        self.work.inputs.append(entry)
        if session is not None:
            self.put_row(session)
        self.gather(self._interval)

    def put_batch(self, entry: Input, session: Session) -> None:
        """Records of a stream. With the last that is `expected` nobody else is waited for: the commit comes as soon as
        an interval has passed since the one before.
        """
        self.put(entry, session)
        if len(self.work.streams) >= self.expected:
            self.gather(max(0.0, self._began + self._interval - asyncio.get_running_loop().time()))

    def put_row(self, session: Session) -> None:
        """What is known of a session has changed: its row goes along with the next commit."""
        self.work.streams[session.stream.id] = session.row()

    def wake(self) -> None:
        """Commit now: someone waits for what an outcome tells, or all there is has been gathered."""
        self._wake.set()

    def gather(self, seconds: float) -> None:
        """There is work, which can wait so long for more."""
        loop = asyncio.get_running_loop()
        at = loop.time() + seconds
        if self._gathering is not None:
            if self._gathered_at <= at:
                return
            self._gathering.cancel()
        # When it is due it does not tell itself: what is due at once is no timer of uvloop's.
        self._gathering, self._gathered_at = loop.call_at(at, self.wake), at

    @property
    def error(self) -> str:
        """Why the journal refuses data, "" while it does not."""
        return self._refusal or self._cap.full

    @property
    def settled(self) -> bool:
        """Whether everything that has come in is committed."""
        return not self.work and not self._committing

    @property
    def full(self) -> bool:
        """Whether the journal is at its cap: what comes in is not taken any more."""
        return bool(self._cap.full)

    @property
    def _only_withholds(self) -> bool:
        return self.full and not self._committing and not self.work.parted()[0]

    @property
    def failed(self) -> bool:
        """Whether the store can't go on: what has come in since is not journaled, and never will be."""
        return self._failed

    async def settle(self) -> None:
        """Wait until it is, or never will be; not for those who wait themselves for what an outcome tells."""
        while not (self.settled or self._failed or self._only_withholds):
            self.wake()
            await self._round.wait()

    async def round(self) -> None:
        """Wait until the work that is there now is committed, whatever comes meanwhile. Raises JournalError where it
        never will be.
        """
        for _ in range(2):  # the commit that is under way may have begun without it
            self.wake()
            await self._round.wait()
        if self._failed:
            raise JournalError(f"the run {self._name} is journaled no more: {self.error}")

    async def in_thread(self, call: Callable[[], T]) -> T:
        """Run something in the store's thread, between commits."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def from_other_thread(self, call: Callable[[], T]) -> T:
        """The same for a thread that is not the event loop's: blocks it until done."""
        return self._thread.submit(call).result()

    async def _run(self) -> None:
        try:
            while True:
                await self._wait_for_work()
                self._wake.clear()
                self._stop_gathering()
                if self._due():
                    self.work.inputs.append(Input(Cause.TICK))
                if self.work or self._interest():
                    await self._commit(self._take())
                # Whoever settles goes on before the next commit begins.
                done, self._round = self._round, asyncio.Event()
                done.set()
                await asyncio.sleep(0)
        except Exception as error:  # a defect of ours: the clients keep their data, and are told
            told = about("commits-failed", run=self._name, cause=error)
            log.exception("run %s: its commits have failed", self._name, extra=told)
            self._refusal = f"{type(error).__name__}: {error}"
            self._failed = True
            self._round.set()
            self._broken(f"the daemon can't go on with this run ({self.error})")

    async def _wait_for_work(self) -> None:
        if self._deadline is None:
            await self._wake.wait()
            return
        # Not wait_for: before Python 3.12 it swallows a cancellation that comes with what it waits for.
        due = asyncio.get_running_loop().call_later(max(0.0, self._deadline - self._clock()), self.wake)
        try:
            await self._wake.wait()
        finally:
            due.cancel()

    def _stop_gathering(self) -> None:
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None

    def _due(self) -> bool:
        return self._deadline is not None and self._clock() >= self._deadline

    @property
    def _deadline(self) -> float | None:
        """When a step closes next; at the journal's cap none does."""
        return None if self.full else self.next_deadline

    def _clock(self) -> float:
        return self._monotonic() + self._clock_offset

    def _take(self) -> Work:
        work, self.work = self.work, Work()
        if self.full:
            work, self.work = work.parted()
        # All inputs of one commit share one time, later than that of the one before: replay finds the groups by it.
        self._now = max(self._clock(), self._now + 1e-6)
        work.inputs = [replace(entry, now=self._now) for entry in work.inputs]
        work.interest = self._interest()
        return work

    async def _commit(self, work: Work) -> None:
        self._committing = True
        self._began = asyncio.get_running_loop().time()
        outcome = await self._until_taken(lambda: self._store.commit(work))
        self._committing = False
        self._cap.weigh(outcome.journal_bytes)
        self.next_deadline = outcome.next_deadline
        self._committed(outcome, work)

    async def _until_taken(self, commit: Callable[[], Outcome]) -> Outcome:
        while True:
            try:
                outcome = await self.in_thread(commit)
            except (sqlite3.Error, OSError) as error:
                if not self._refusal:
                    told = about("journal-refuses", run=self._name, cause=error)
                    text = "run %s: the journal refuses: %s; trying again each second"
                    log.error(text, self._name, error, extra=told)
                self._refusal = str(error)
                await asyncio.sleep(RETRY_SECONDS)
                commit = self._store.retry
            else:
                if self._refusal:
                    told = about("journal-works", run=self._name)
                    log.warning("run %s: the journal takes data again", self._name, extra=told)
                self._refusal = ""
                return outcome
