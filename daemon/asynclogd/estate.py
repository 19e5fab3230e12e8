"""What dead ranks and dead daemons left in one runtime directory, taken up run by run."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable
from itertools import chain
from pathlib import Path

from asynclog_proto.errors import AsynclogError, ProtocolError
from asynclog_proto.frames import Hello
from asynclogd import recovery
from asynclogd.pipeline import Pipeline
from asynclogd.session import Session

log = logging.getLogger(__name__)

OpenRun = Callable[[Hello], Awaitable[Pipeline]]


class Estate:
    """Buries streams whose processes are dead: what they left is journaled, then removed. Each is done once."""

    def __init__(self, open_run: OpenRun) -> None:
        self._open_run = open_run
        self._burials: dict[str, asyncio.Task[None]] = {}

    async def recover(self, rings: Iterable[Path], pipelines: Iterable[Pipeline]) -> None:
        """Take up dead streams of `pipelines` by their spools, and of any run by their `rings`."""
        dead: dict[Pipeline, list[Session]] = {}
        for pipeline in pipelines:
            for spool in sorted((pipeline.run_dir / "spool").glob("*/")):
                hello = await asyncio.to_thread(recovery.spool_hello, spool)
                await self._join(hello, dead)
        for ring in rings:
            try:
                left = await asyncio.to_thread(recovery.read_ring, ring)
            except (ProtocolError, OSError) as error:
                log.error("ring %s can't be read: %s", ring, error)
            else:
                await self._join(left.hello if left is not None else None, dead)
        # Every stream has joined before the first is taken up, so that steps wait for all of them.
        await asyncio.gather(*(self.bury(pipeline, sessions) for pipeline, sessions in dead.items()))

    async def _join(self, hello: Hello | None, dead: dict[Pipeline, list[Session]]) -> None:
        if hello is None or (hello.ring and not recovery.owner_is_dead(Path(hello.ring))):
            return
        try:
            pipeline = await self._open_run(hello)
            session = pipeline.sessions.get(hello.incarnation) or pipeline.hello(hello, None)
        except (AsynclogError, OSError) as error:
            log.error("run %s/%s, rank %d can't be taken up: %s", hello.project, hello.name, hello.rank, error)
            return
        sessions = dead.setdefault(pipeline, [])
        if session not in sessions:
            sessions.append(session)

    def bury(self, pipeline: Pipeline, sessions: list[Session]) -> asyncio.Future[list[BaseException | None]]:
        """Take up these streams of a run together; done when all of them are, whoever asked first."""
        fresh = [session for session in sessions if session.stream.incarnation not in self._burials]
        if fresh:
            burial = asyncio.create_task(self._bury(pipeline, fresh), name="burial")
            for session in fresh:
                self._burials[session.stream.incarnation] = burial
            burial.add_done_callback(lambda done: self._forget(fresh, done))
        burials = {self._burials[session.stream.incarnation] for session in sessions}
        return asyncio.gather(*burials, return_exceptions=True)

    def _forget(self, sessions: list[Session], burial: asyncio.Task[None]) -> None:
        for session in sessions:
            self._burials.pop(session.stream.incarnation, None)
        if not burial.cancelled() and (error := burial.exception()) is not None:
            log.error("what dead ranks left could not be taken up; it stays where it is", exc_info=error)

    async def _bury(self, pipeline: Pipeline, sessions: list[Session]) -> None:
        left = {}
        for session in sessions:
            ring = await asyncio.to_thread(_read_ring, session.ring)
            if ring is not None:
                session.count(ring.issued, dict(ring.dropped))
            spooled = recovery.spool_batches(session.spool) if session.spool is not None else iter(())
            left[session.stream.incarnation] = chain(spooled, ring.batches if ring is not None else ())
        await pipeline.take_left(recovery.by_time(left))
        await pipeline.leave(sessions)
        for session in sessions:
            await asyncio.to_thread(recovery.remove, session.ring, session.spool)
            log.info("run %s: rank %d has ended (%s)", pipeline.name, session.stream.rank, session.stream.state)


def _read_ring(path: Path | None) -> recovery.LeftRing | None:
    try:
        return None if path is None else recovery.read_ring(path)
    except (ProtocolError, OSError) as error:
        log.error("ring %s can't be read: %s", path, error)
        return None
