"""What dead ranks and dead daemons left in one runtime directory, taken up run by run."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import replace
from itertools import chain
from pathlib import Path

from asynclog_proto.errors import ProtocolError
from asynclog_proto.frames import Hello
from asynclogd import begun, living, recovery
from asynclogd.incidents import about
from asynclogd.journal import JournalBusyError
from asynclogd.pipeline import Pipeline
from asynclogd.session import Session
from asynclogd.untaken import AGAIN_SECONDS, Untaken, again_after

log = logging.getLogger(__name__)

OpenRun = Callable[[Hello], Awaitable[Pipeline]]


class Estate:
    """Buries streams whose processes are dead: what they left is journaled, then removed. Each is done once."""

    def __init__(self, open_run: OpenRun, *, has_remote: bool = False) -> None:
        """`has_remote`: ranks on other machines log to this daemon, and spool on a shared disk while it is away. So
        a spool of another machine may be a live rank's: it is left alone.
        """
        self._open_run = open_run
        self._has_remote = has_remote
        self._burials: dict[str, asyncio.Task[None]] = {}
        self.untaken = Untaken()
        """rings and spools; whoever tries those that are due tells it"""
        self.sightings = living.sightings()
        """of spools, for whoever looks whether their processes live"""

    @property
    def given_up(self) -> set[Path]:
        """Rings and spools that could not be taken up; they stay where they are: those that may be later are tried
        again, the rest is for `asynclog sync` or a later daemon.
        """
        return self.untaken.paths

    @property
    def left_alone(self) -> set[Path]:
        """Those of them that are not to be tried now."""
        return self.untaken.left_alone(time.monotonic())

    def awaits(self, pipeline: Pipeline) -> bool:
        """Whether something of a run's waits for its next try: nobody else would come back to it."""
        waiting = self.untaken.waiting
        files = (path for session in pipeline.sessions.values() for path in (session.ring, session.spool))
        return bool(waiting) and (
            any(path.is_relative_to(pipeline.run_dir) for path in waiting) or any(path in waiting for path in files)
        )

    def _give_up(self, path: Path, seconds: float = math.inf) -> None:
        self.untaken.add(path, time.monotonic(), seconds)

    async def recover(self, rings: Iterable[Path], pipelines: Iterable[Pipeline]) -> None:
        """Take up dead streams by their `rings`, and by their spools those of `pipelines` and of the rings' runs: what
        one rank left in its spool alone may be of an earlier launch than another's ring.
        """
        known = list(pipelines)
        found = await self._spooled(known)
        found.update(await self._in_rings(rings))
        runs = await self._opened(found.values())
        spooled = await self._spooled([pipeline for pipeline in runs if pipeline not in known])
        more = await self._opened([hello for name, hello in spooled.items() if name not in found])
        for pipeline, hellos in more.items():
            runs.setdefault(pipeline, []).extend(hellos)
        await asyncio.gather(*(self._recover_run(pipeline, hellos) for pipeline, hellos in runs.items()))

    async def _spooled(self, pipelines: Iterable[Pipeline]) -> dict[str, Hello]:
        """The dead streams that have left a spool in these runs, by incarnation."""
        found: dict[str, Hello] = {}
        for pipeline, directory in [(p, spool) for p in pipelines for spool in self._spools(p)]:
            try:
                hello = await asyncio.to_thread(recovery.spool_hello, directory)
            except OSError as error:
                self._unreadable(directory, error)
                continue
            if hello is not None and self._has_remote and hello.host not in ("", os.uname().nodename):
                text = "%s is of a rank on %s: left to it, or to `asynclog sync`"
                log.info(
                    text, directory, hello.host, extra=about("spool-elsewhere", run=run_of(hello), rank=hello.rank)
                )
            elif hello is None:
                if not recovery.media_files(directory):  # they wait to be encoded, their records are journaled
                    self._give_up(directory)
            else:
                # The directory may have been moved or copied here: where the spool lies counts, not where it was.
                at = pipeline.run_dir.parent
                name = pipeline.run_dir.name
                here = replace(hello, dir=str(at.parent), project=at.name, name=name, spool=str(directory))
                session = pipeline.sessions.get(hello.incarnation)
                # Without a ring its silence tells that it died, or that its process has gone.
                silent = session is None or not session.live
                if hello.ring or (silent and not await asyncio.to_thread(self._is_written, directory, hello)):
                    _note(here, found)
                elif silent and living.is_of_another_container(hello):  # it may have died, which only time tells
                    self._give_up(directory, AGAIN_SECONDS)
        return found

    def _is_written(self, directory: Path, hello: Hello) -> bool:
        return living.is_written(directory, hello.host, hello.pid, self.sightings)

    def _spools(self, pipeline: Pipeline) -> list[Path]:
        try:
            return recovery.spools(pipeline.run_dir)
        except OSError as error:
            self._unreadable(pipeline.run_dir / "spool", error)
            return []

    def _unreadable(self, directory: Path, error: OSError) -> None:
        """That may pass; the other spools are taken up all the same."""
        log.error("%s can't be read: %s", directory, error, extra=about("spool-unreadable", cause=error))
        self._give_up(directory, again_after(error))

    async def _in_rings(self, rings: Iterable[Path]) -> dict[str, Hello]:
        """The dead streams of these rings, by incarnation."""
        found: dict[str, Hello] = {}
        for ring in rings:
            left = await asyncio.to_thread(_read_ring, ring)
            if not isinstance(left, recovery.LeftRing):
                self._give_up(ring, left)
            else:
                _note(left.hello, found)
        return found

    async def _opened(self, hellos: Iterable[Hello]) -> dict[Pipeline, list[Hello]]:
        """The runs of these streams. What is of a run that can't be opened is given up, for a while if it may pass."""
        runs: dict[Pipeline, list[Hello]] = {}
        for hello in hellos:
            try:
                runs.setdefault(await self._open_run(hello), []).append(hello)
            except Exception as error:  # a defect too, ours or a backend's: the other ranks are taken up all the same
                told = about("rank-left", run=run_of(hello), rank=hello.rank, cause=error)
                log.error("run %s, rank %d can't be taken up: %s", run_of(hello), hello.rank, error, extra=told)
                if not hello.ring or not isinstance(error, (OSError, sqlite3.Error, JournalBusyError)):
                    self._give_up(Path(hello.ring or hello.spool), again_after(error))
                # Else its ring stays an orphan: the next round finds it, and a daemon without other work waits for it.
        return runs

    def has_left(self, pipeline: Pipeline) -> bool:
        """Whether something of a run's is to be taken up, now or later."""
        return self.awaits(pipeline) or any(map(self.is_left, pipeline.sessions.values()))

    def is_left(self, session: Session) -> bool:
        """Whether there is something of a stream's that is to be taken up now."""
        if session.gone or {session.ring, session.spool} & self.left_alone:
            return False
        try:
            left = recovery.is_left(session.ring, session.spool)
        except OSError as error:
            self._unreadable(Path(session.stream.spool or session.stream.ring), error)
            return False
        # Of what a stream leaves its ring is taken away last. One without a ring may still come to spool.
        session.gone = not (left or session.live) and session.ring is not None
        return left

    async def _recover_run(self, pipeline: Pipeline, hellos: list[Hello]) -> None:
        """Launch after launch, as they were; in each, every rank has joined before the first one's rows are taken,
        so that steps wait for all of them.
        """
        launches: dict[str, list[Hello]] = {}
        for hello in hellos:
            launches.setdefault(hello.launch, []).append(hello)
        began = {hello.incarnation: await _began(hello) for hello in hellos}
        over = {
            name: each.stream.began for name, each in pipeline.sessions.items() if not each.live and name not in began
        }
        began = begun.settled(began, over, await asyncio.to_thread(begun.order, pipeline.run_dir))
        for each in sorted(launches.values(), key=lambda each: min(began[hello.incarnation] for hello in each)):
            sessions = []
            for hello in each:
                session = pipeline.sessions.get(hello.incarnation)
                came = began[hello.incarnation]
                session = session or pipeline.hello(hello, None, began=came if math.isfinite(came) else 0.0)
                session.gone = False
                stream = session.stream
                stream.ring, stream.spool, stream.outbox = hello.ring, hello.spool, hello.outbox
                sessions.append(session)
            await self.bury(pipeline, sessions)

    def bury(self, pipeline: Pipeline, sessions: list[Session]) -> asyncio.Future[list[BaseException | None]]:
        """Take up these streams of a run together; done when all of them are, whoever asked first. Whoever waits no
        longer ends it for nobody else.
        """
        fresh = [session for session in sessions if session.stream.incarnation not in self._burials]
        if fresh:
            burial = asyncio.create_task(self._bury(pipeline, fresh), name="burial")
            for session in fresh:
                self._burials[session.stream.incarnation] = burial
            burial.add_done_callback(lambda done: self._forget(fresh, done))
        burials = {self._burials[session.stream.incarnation] for session in sessions}
        return asyncio.gather(*map(asyncio.shield, burials), return_exceptions=True)

    async def close(self) -> None:
        """End the burials that go on: what they have not taken up stays for the next daemon."""
        burials = set(self._burials.values())
        for burial in burials:
            burial.cancel()
        await asyncio.gather(*burials, return_exceptions=True)

    def _forget(self, sessions: list[Session], burial: asyncio.Task[None]) -> None:
        for session in sessions:
            self._burials.pop(session.stream.incarnation, None)
        if not burial.cancelled() and (error := burial.exception()) is not None:
            text = "what dead ranks left could not be taken up; it stays where it is"
            log.error(text, exc_info=error, extra=about("burial-failed", cause=error))

    async def _bury(self, pipeline: Pipeline, sessions: list[Session]) -> None:
        left: dict[str, Iterator[recovery.LeftBatch]] = {}
        unread: dict[str, float] = {}
        """until when a stream is left alone, of which something can't be read"""
        for session in sessions:
            found = await asyncio.to_thread(_read_ring, session.ring) if session.ring is not None else math.inf
            ring = found if isinstance(found, recovery.LeftRing) else None
            if ring is not None:
                session.count(ring.issued, dict(ring.dropped))
            if await asyncio.to_thread(_is_unread, session, ring):
                unread[session.stream.incarnation] = math.inf if isinstance(found, recovery.LeftRing) else found
            counted = await asyncio.to_thread(recovery.spool_counts, session.spool) if session.spool else None
            if counted is not None:
                session.count(counted.issued, dict(counted.dropped))
            spooled = recovery.spool_batches(session.spool) if session.spool is not None else iter(())
            left[session.stream.incarnation] = chain(spooled, ring.batches if ring is not None else ())
        await pipeline.take_left(sessions, recovery.by_step(left))
        await pipeline.leave(sessions)
        for session in sessions:
            taken = session.flow.committed == session.flow.next_seq and not pipeline.failed
            if taken and session.stream.incarnation not in unread:
                await asyncio.to_thread(recovery.remove, session.ring, session.spool)
            else:
                for path in (session.ring, session.spool):
                    if path is not None:
                        self._give_up(path, unread.get(session.stream.incarnation, math.inf))
            rank, state = session.stream.rank, session.stream.state
            told = about("rank-ended", run=pipeline.title, rank=rank, cause=state)
            log.info("run %s: rank %d has ended (%s)", pipeline.title, rank, state, extra=told)
        pipeline.media.clear()


def _note(hello: Hello | None, found: dict[str, Hello]) -> None:
    if hello is not None and (not hello.ring or living.owner_is_dead(Path(hello.ring))):
        found[hello.incarnation] = hello


def run_of(hello: Hello) -> str:
    """project/name."""
    return f"{hello.project}/{hello.name}"


async def _began(hello: Hello) -> float:
    ring, spool = (Path(path) if path else None for path in (hello.ring, hello.spool))
    try:
        return await asyncio.to_thread(recovery.began, ring, spool)
    except (ProtocolError, OSError):
        return math.inf  # its burial will say what is wrong


def _is_unread(session: Session, ring: recovery.LeftRing | None) -> bool:
    """Whether a stream has left what this version can't read: that is not removed."""
    if ring is None and session.ring is not None and session.ring.exists():
        return True
    return session.spool is not None and recovery.is_of_another_version(session.spool)


def _read_ring(path: Path) -> recovery.LeftRing | float:
    """The ring, or for how long it makes no sense to look at it again (s)."""
    try:
        return recovery.read_ring(path) or math.inf
    except (ProtocolError, OSError) as error:
        log.error("ring %s can't be read: %s", path, error, extra=about("ring-unreadable", cause=error))
        return again_after(error)
