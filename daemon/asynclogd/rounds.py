"""Who has died, and what was left: looked for in rounds, and taken up."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from pathlib import Path

from asynclogd import living
from asynclogd.catalog import title
from asynclogd.clockset import ClockSet
from asynclogd.config import DaemonSettings
from asynclogd.estate import Estate
from asynclogd.incidents import about
from asynclogd.lookout import Lookout
from asynclogd.pipeline import Pipeline
from asynclogd.runs import Runs
from asynclogd.session import Session
from asynclogd.untaken import BusyError, Untaken, again_after

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.5
"""How often locks of rings are looked at while ranks log: a killed one is noticed this soon."""

REST_SECONDS = 2.0
"""A complete run stays open so long, for a rank that starts again."""

PATIENCE_SECONDS = 5.0
"""What was left is waited for so long where its journal may refuse it."""


class Rounds:
    """Finds the dead of a daemon's runs for its estate, and closes the runs that are complete."""

    def __init__(self, runtime: Path, settings: DaemonSettings, runs: Runs, estate: Estate) -> None:
        self.stirred = True
        """whether a rank has said more than that it lives since the last round"""
        self.last_active = time.monotonic()
        """when a rank lived, or somebody wanted a run"""
        self._runtime = runtime
        self._settings = settings
        self._runs = runs
        self._estate = estate
        self._left = Untaken()
        """runs that an earlier daemon left and that could not be opened yet"""
        self._complete_since: dict[Path, float] = {}
        self._clock = ClockSet(time.time(), time.monotonic())

    async def watch(self) -> None:
        """One round after the other, rarer while nothing stirs."""
        lookout = Lookout(WATCH_SECONDS)
        while True:
            stirred, self.stirred = self.stirred or not all(run.live for run in self._runs.open.values()), False
            await asyncio.sleep(lookout.next_wait(time.monotonic(), stirred=stirred))
            try:
                await self.look()
            except Exception as error:  # no descriptor or thread is left, say: the dead are found when there is one
                told = about("look-failed", cause=error)
                log.error("dead ranks can't be looked for now: %s", error, extra=told)

    async def look(self) -> None:
        """One round: bury the dead, tell of trouble, close what is complete, try again what is due."""
        self._look_at_the_clock()
        burials = []
        found = await self.dead(session for run in self._runs.open.values() for session in run.sessions.values())
        gone = set(map(id, found))
        for pipeline in list(self._runs.open.values()):
            dead = [session for session in pipeline.sessions.values() if id(session) in gone]
            burials += [self._estate.bury(pipeline, each) for each in _by_launch(dead)]
            pipeline.fanout.tell_of_trouble()
            if not dead:  # a burial needs the run
                self._close_when_complete(pipeline)
        await self._try_again(burials)
        self._runs.count_live()
        if self._runs.workers.pids():
            await asyncio.to_thread(self._runs.workers.end_idle)

    def _look_at_the_clock(self) -> None:
        if by := self._clock.noticed(time.time(), time.monotonic()):
            log.info("the clock was set by %+.0f s", by, extra=about("clock-set"))
            for pipeline in self._runs.open.values():
                pipeline.fanout.clock_was_set()

    async def _try_again(self, burials: Iterable[asyncio.Future[list[BaseException | None]]]) -> None:
        """Orphans, and what could not be taken up before and is due."""
        now = time.monotonic()
        again, left = self._estate.untaken.due(now), self._left.due(now)
        spooled = [run for run in self._runs.open.values() if any(path.is_relative_to(run.run_dir) for path in again)]
        orphans = self.orphans()
        if orphans or again or left:
            await asyncio.gather(*burials)  # an orphan may be of a launch that supersedes theirs
            await self.recover(orphans, list(left), spooled)
            self._estate.untaken.tried(again)
            self._left.tried(left)

    async def recover(self, rings: list[Path], run_dirs: list[Path], runs: Iterable[Pipeline] = ()) -> None:
        """Take up runs that were not finished, and whatever dead ranks left in rings and spools, of open `runs` too."""
        pipelines = list(runs)
        for run_dir in run_dirs:
            try:
                pipelines.append(await self._runs.get(run_dir))
            except Exception as error:  # one run's trouble, a defect even, is not that of the others
                self._left.add(run_dir, time.monotonic(), again_after(error))
                told = about("run-left", run=title(run_dir), cause=error)
                log.error("run %s can't be taken up: %s", run_dir, error, extra=told)
        await self._estate.recover(rings, pipelines)

    async def bury_launches_before(self, pipeline: Pipeline, launch: str) -> None:
        """A restart supersedes the launch before it: what its dead ranks left belongs ahead of the new rows. Raises
        BusyError where the run's journal refuses that.
        """
        burial = asyncio.ensure_future(self._bury_launches_before(pipeline, launch))
        try:
            while not burial.done():
                await asyncio.wait({burial}, timeout=PATIENCE_SECONDS)
                if not burial.done() and pipeline.journal_error:
                    raise BusyError(f"the journal refuses what the launch before left: {pipeline.journal_error}")
            burial.result()
        finally:
            burial.cancel()

    async def _bury_launches_before(self, pipeline: Pipeline, launch: str) -> None:
        older = [session for session in pipeline.sessions.values() if session.stream.launch != launch]
        if dead := await self.dead(older):
            await self._estate.bury(pipeline, dead)  # of one launch: those before it were buried when it came
        # Of that launch, or of later ones that nobody has heard of.
        await self._estate.recover(self.orphans(), [pipeline])

    async def bury_unheard(self) -> None:
        """For who opens no door: a rank that has left no trace of its life can't say hello, and is dead."""
        for pipeline in list(self._runs.open.values()):
            for each in _by_launch(await self.dead(pipeline.sessions.values(), patience=0.0)):
                await self._estate.bury(pipeline, each)

    async def dead(self, sessions: Iterable[Session], patience: float | None = None) -> list[Session]:
        """Those whose processes have gone, and that are to be buried: after their END too, where they left files.
        `patience`: how long one without a ring may be silent, by default as is configured.
        """
        of_interest = [session for session in sessions if session.live or self._estate.is_left(session)]
        dead = [session for session in of_interest if session.ring is not None and living.owner_is_dead(session.ring)]
        silent = [session for session in of_interest if self._is_silent(session, patience)]
        if not silent:
            return dead
        seen = self._estate.sightings
        spoolers = [(session.spool, session.stream.host, session.stream.pid) for session in silent]
        alive = await asyncio.to_thread(lambda: [living.is_written(*spooler, seen) for spooler in spoolers])
        for session, is_alive in zip(silent, alive, strict=True):
            if not is_alive and self._is_silent(session, patience):  # it may have spoken meanwhile
                dead.append(session)
        return dead

    def _is_silent(self, session: Session, patience: float | None) -> bool:
        """Whether nothing but its words could tell that a stream lives, and there have been none for long."""
        patience = self._settings.silence_timeout if patience is None else patience
        return session.ring is None and time.monotonic() - session.heard > patience

    def _close_when_complete(self, pipeline: Pipeline) -> None:
        now = time.monotonic()
        if pipeline.live:
            self.last_active = now
        if not pipeline.complete or self._estate.awaits(pipeline):
            self._complete_since.pop(pipeline.run_dir, None)
        elif now - self._complete_since.setdefault(pipeline.run_dir, now) > REST_SECONDS:
            del self._complete_since[pipeline.run_dir]
            self._runs.begin_closing(pipeline, self._settings.drain_timeout)

    def orphans(self) -> list[Path]:
        """Rings of dead processes that never came to say hello, or whose run is closed."""
        left_alone = self._estate.left_alone
        known = {session.ring for run in self._runs.open.values() for session in run.sessions.values()}
        places_of_rings = [self._runtime, *self._runs.open]  # where memory had no room a ring is in its run's directory
        rings = [ring for place in places_of_rings for ring in sorted((place / "rings").glob("*.ring"))]
        unknown = [ring for ring in rings if ring not in known and ring not in left_alone]
        return [ring for ring in unknown if living.owner_is_dead(ring)]

    @property
    def waits(self) -> bool:
        """Whether something is there that a later round will try to take up."""
        return bool(self._estate.untaken.waiting or self._left.waiting)


def _by_launch(sessions: Iterable[Session]) -> list[list[Session]]:
    launches: dict[str, list[Session]] = {}
    for session in sessions:
        launches.setdefault(session.stream.launch, []).append(session)
    return list(launches.values())
