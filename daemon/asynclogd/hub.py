"""All runs of one daemon: which run a message belongs to, who has died, what was left behind."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
import time
from collections.abc import Coroutine, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from asynclog_proto import places
from asynclog_proto.errors import AsynclogError, ConfigError, ProtocolError
from asynclog_proto.frames import AddBackend, Ask, Batch, Finish, Flush, Heartbeat, Hello, Message, Refused, Reset
from asynclogd import claim, recovery, wanted
from asynclogd.answers import Send
from asynclogd.catalog import JOURNAL, is_run, title
from asynclogd.config import Config
from asynclogd.estate import Estate, run_of
from asynclogd.health import describe
from asynclogd.incidents import about
from asynclogd.journal import JournalBusyError
from asynclogd.lastvalues import LastValues
from asynclogd.lookout import Lookout
from asynclogd.media.workers import Workers
from asynclogd.pipeline import Pipeline
from asynclogd.registry import Registry
from asynclogd.session import Session
from asynclogd.untaken import BusyError, RunDirError, Untaken, again_after

log = logging.getLogger(__name__)

WATCH_SECONDS = 0.5
"""How often locks of rings are looked at while ranks log: a killed one is noticed this soon."""

CLOSED_RUNS = 100
"""Closed runs whose last ledger is kept, for `asynclog run` and `status --json`."""

EXCHANGE_SECONDS = 0.02
"""How often a sink that is to let go is looked at."""

BUSY_SECONDS = 3.0
"""Ranks whose run another process has open are told so after so long."""

REST_SECONDS = 2.0
"""A complete run stays open so long, for a rank that starts again."""


class InVain(NamedTuple):
    """A run that ranks ask for in vain: why, and since when (monotonic seconds)."""

    why: str
    since: float


class Hub:
    """Owns the pipelines between `open` and `close`."""

    def __init__(self, runtime: Path, config: Config, send: Send, *, own_backends: bool = False) -> None:
        """`own_backends`: the configuration's backends are used, whatever a run's `init` asked for."""
        self.runs: dict[Path, Pipeline] = {}
        self.last_active = time.monotonic()
        self.closed_runs: dict[str, dict[str, Any]] = {}
        self._untaken: dict[str, InVain] = {}
        self._runtime = runtime
        self._config = config
        self._send = send
        self._own_backends = own_backends
        self._registry = Registry()
        daemon = config.daemon
        self._workers = Workers(daemon.media_workers, daemon.media_seconds, daemon.media_memory_mb << 20)
        self._peers: dict[bytes, tuple[Pipeline, Session]] = {}
        self._opening: dict[Path, asyncio.Task[Pipeline]] = {}
        self._closing: dict[Path, asyncio.Task[None]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._estate = Estate(self._pipeline, has_remote=bool(daemon.bind))
        self._left = Untaken()
        """runs that an earlier daemon left and that could not be opened yet"""
        self._complete_since: dict[Path, float] = {}
        self._stirred = True
        """whether a rank has said more than that it lives since the last look"""
        self._live = 0
        """live streams of all runs, as counted last"""

    async def open(self) -> None:
        """Take up what an earlier daemon or dead ranks left, and begin to watch."""
        await self.recover(self._orphans(), self._left_runs())
        self._spawn(self._watch(), "watch")

    @property
    def given_up(self) -> set[Path]:
        """Rings and spools that could not be taken up."""
        return self._estate.given_up

    @property
    def untaken(self) -> dict[str, str]:
        """Runs that ranks asked for in vain: directory and why."""
        return {run_dir: run.why for run_dir, run in self._untaken.items()}

    async def close(self, timeout: float) -> None:
        """Stop watching and close every run, all at once."""
        for task in [*self._tasks, *self._opening.values()]:
            task.cancel()
        await asyncio.gather(*self._tasks, *self._opening.values(), return_exceptions=True)
        await asyncio.gather(*self._closing.values(), return_exceptions=True)
        await asyncio.gather(*(self._close_run(run, timeout) for run in list(self.runs.values())))
        await asyncio.to_thread(self._workers.close)

    # -- messages -----------------------------------------------------------------------------------------------

    def deliver(self, peer: bytes, message: Message, payload: memoryview) -> None:
        """One message of a client."""
        self._stirred = self._stirred or not isinstance(message, Heartbeat)
        if isinstance(message, Hello):
            self._spawn(self._hello(message, peer), "hello")
            return
        known = self._peers.get(peer)
        if known is None:
            self._send(peer, Reset("this daemon does not know you yet"))
            return
        pipeline, session = known
        if isinstance(message, Batch):
            pipeline.batch(session, message.first_seq, message.count, bytes(payload))
        elif isinstance(message, Heartbeat):
            pipeline.heartbeat(session, message)
        elif isinstance(message, Finish):
            pipeline.finish(session, message)
        elif isinstance(message, Flush):
            pipeline.flush(session, message)
        elif isinstance(message, Ask):
            pipeline.ask(session, message)

    async def _hello(self, hello: Hello, peer: bytes) -> None:
        try:
            pipeline = await self._pipeline(hello)
            await self._bury_launches_before(pipeline, hello.launch)
            session = pipeline.hello(hello, peer, self._reshape(pipeline, hello))
            self._live = self._count_live()
        except (JournalBusyError, BusyError, OSError, sqlite3.Error) as error:
            # It may pass (a full disk, another daemon that still has the run): the client spools and asks again.
            waits = self._note_untaken(hello, str(error))
            if not waits:  # it is asked for again each few seconds, by each rank
                _tell("rank-waits", "run %s, rank %d has to wait: %s", hello, error)
            busy = isinstance(error, JournalBusyError)
            if busy:
                claim.lay(places.run_dir(hello.dir, hello.project, hello.name))
            # Another daemon, one that ends, say, leaves the run soon: nobody needs to hear of it.
            lasts = not busy or waits > BUSY_SECONDS
            notice = f"the daemon can't take this run now, and is asked again: {error}" if lasts else ""
            self._send(peer, Reset(str(error), notice))
            return
        except AsynclogError as error:
            _tell("rank-refused", "run %s, rank %d is refused: %s", hello, error)
            self._note_untaken(hello, str(error))
            self._send(peer, Refused(str(error)))
            return
        except Exception as error:  # a defect, ours or a backend's: it may pass, and the client keeps its data
            self._hello_failed(hello, peer, error)
            return
        if self._untaken.pop(str(pipeline.run_dir), None):
            log.info("run %s is taken now", pipeline.title, extra=about("run-taken", run=pipeline.title))
        self._bind(peer, pipeline, session)
        self.last_active = time.monotonic()

    def _hello_failed(self, hello: Hello, peer: bytes, error: Exception) -> None:
        run, why = run_of(hello), describe(error)
        before = self._untaken.get(str(places.run_dir(hello.dir, hello.project, hello.name)))
        if before is None or before.why != why:  # it is asked for again each few seconds, by each rank
            told = about("hello-failed", run=run, rank=hello.rank, cause=error)
            log.error("run %s, rank %d can't be taken: %s", run, hello.rank, why, exc_info=error, extra=told)
        self._note_untaken(hello, why)
        self._send(peer, Reset(why, f"the daemon has failed to take this run, and is asked again: {why}"))

    def _bind(self, peer: bytes, pipeline: Pipeline, session: Session) -> None:
        """A peer speaks for one stream and a stream has one peer: the last hello counts."""
        before = self._peers.get(peer)
        if before is not None and before[1] is not session:
            before[1].peer = None  # its acks would be taken for those of the new stream
        self._peers = {k: v for k, v in self._peers.items() if v[1] is not session}
        self._peers[peer] = (pipeline, session)

    async def add_backend(self, asked: AddBackend) -> None:
        """A tool wants a run delivered to one more backend; returns when that is journaled. Raises AsynclogError."""
        run_dir = places.run_dir(asked.dir, asked.project, asked.name)
        if not (run_dir / JOURNAL).exists():
            raise RunDirError(f"there is no run at {run_dir}")
        try:
            pipeline = await self.open_run(run_dir)
        except (OSError, sqlite3.Error) as error:
            raise RunDirError(f"the run at {run_dir} can't be opened now: {error}") from error
        wanted.add_one(pipeline, asked.backend, asked.options)
        await pipeline.journaled()
        self.last_active = time.monotonic()

    def _note_untaken(self, hello: Hello, why: str) -> float:
        """For how many seconds the run has been asked for in vain."""
        run_dir, now = str(places.run_dir(hello.dir, hello.project, hello.name)), time.monotonic()
        before = self._untaken.get(run_dir)
        since = now if before is None else before.since
        self._untaken[run_dir] = InVain(why, since)
        if len(self._untaken) > CLOSED_RUNS:
            del self._untaken[next(iter(self._untaken))]
        return now - since

    async def _bury_launches_before(self, pipeline: Pipeline, launch: str) -> None:
        """A restart supersedes the launch before it: what its dead ranks left belongs ahead of the new rows."""
        if _goes_on(pipeline, launch):
            return
        older = [session for session in pipeline.sessions.values() if session.stream.launch != launch]
        if dead := await self._dead(older):
            await self._estate.bury(pipeline, dead)  # of one launch: those before it were buried when it came
        # Of that launch, or of later ones that nobody has heard of.
        await self._estate.recover(self._orphans(), [pipeline])

    async def _pipeline(self, hello: Hello) -> Pipeline:
        for what, value in (("project", hello.project), ("run name", hello.name)):
            places.check_component(what, value)
        if not Path(hello.dir).is_absolute():
            raise ProtocolError(f"Hello.dir: {hello.dir!r} is not an absolute path")
        run_dir = places.run_dir(hello.dir, hello.project, hello.name)
        self._check_room(run_dir, hello.incarnation)
        pipeline = await self.open_run(run_dir)
        self._want(pipeline, hello)
        return pipeline

    def _check_room(self, run_dir: Path, incarnation: str) -> None:
        """Raises BusyError when there are as many streams as may be, and this one is not among them."""
        most, live = self._config.daemon.max_streams, self._count_live()
        run = self.runs.get(run_dir)
        known = run.sessions.get(incarnation) if run is not None else None
        comes = known is None or not known.live
        if comes and live >= most:
            raise BusyError(f"{live} streams are open: daemon.max_streams = {most}")
        self._live = live + comes

    def _count_live(self) -> int:
        return sum(session.live for run in self.runs.values() for session in run.sessions.values())

    def _want(self, pipeline: Pipeline, hello: Hello) -> None:
        asked = self._asked(hello)
        if asked is None and not wanted.of(pipeline):  # a run that goes on keeps those that it has
            asked = self._config.backends
        try:
            wanted.add(pipeline, asked or {}, hello.world_size)
        except ConfigError as error:
            way = f"asynclog sync {pipeline.run_dir} --backend NAME"
            text = f"{error}. What is logged is kept, and delivered by `{way}` to a backend that works"
            raise ConfigError(text) from error

    def _asked(self, hello: Hello) -> Mapping[str, Any] | None:
        return self._config.backends if self._own_backends else hello.backends

    def _reshape(self, pipeline: Pipeline, hello: Hello) -> str:
        """Backends that the run had are shown what this launch says. A notice of what it says in vain."""
        asked = self._asked(hello) or {}
        if not _goes_on(pipeline, hello.launch):  # ranks that differ would otherwise have it changed to and fro
            for name in wanted.reshape(pipeline, asked):
                self._spawn(self._exchange(pipeline, name), "exchange")
        return wanted.ignored(pipeline, asked)

    async def _exchange(self, pipeline: Pipeline, name: str) -> None:
        """Have a sink let go, however long that takes, and another one go on from its cursor."""
        sink = pipeline.fanout.sinks.get(name)
        if sink is None:
            return  # it can't be had now
        sink.ask_stop("now")
        while not sink.ended:  # noqa: ASYNC110 - a thread's end sets no event
            await asyncio.sleep(EXCHANGE_SECONDS)
        if self.runs.get(pipeline.run_dir) is pipeline and pipeline.fanout.sinks[name] is sink:
            wanted.exchange(pipeline, name)

    # -- runs ---------------------------------------------------------------------------------------------------

    async def open_run(self, run_dir: Path) -> Pipeline:
        """The run's pipeline, opened when it is not yet; eight ranks that ask at once get the same one."""
        if run_dir in self._closing:
            await asyncio.shield(self._closing[run_dir])
        if run_dir in self.runs:
            return self.runs[run_dir]
        task = self._opening.get(run_dir)
        if task is None:
            if len(self.runs) >= self._config.daemon.max_runs:
                raise BusyError(f"{len(self.runs)} runs are open: daemon.max_runs = {self._config.daemon.max_runs}")
            task = self._opening[run_dir] = asyncio.create_task(self._open_run(run_dir))
            task.add_done_callback(lambda _: self._opening.pop(run_dir, None))
        return await asyncio.shield(task)

    async def _open_run(self, run_dir: Path) -> Pipeline:
        self.closed_runs.pop(str(run_dir), None)
        pipeline = Pipeline(run_dir, self._config.daemon, self._send, self._workers, self._registry)
        pipeline.live_streams = lambda: self._live
        if self._config.prometheus.enabled:
            pipeline.last_values = LastValues()
        try:
            await asyncio.to_thread(run_dir.mkdir, 0o755, parents=True, exist_ok=True)
        except (FileExistsError, FileNotFoundError, NotADirectoryError, PermissionError) as error:
            why = error.strerror or error
            raise RunDirError(f"the directory {run_dir} can't be made: {why}. Give init() another dir") from error
        await pipeline.open()
        claim.lift(run_dir)
        wanted.resume(pipeline)
        self.runs[run_dir] = pipeline
        self._marker(run_dir).write_text(f"{run_dir}\n")
        log.info("run %s is open", pipeline.title, extra=about("run-open", run=pipeline.title))
        return pipeline

    async def _close_run(self, pipeline: Pipeline, timeout: float) -> None:
        """Close a run, and wait for that."""
        await asyncio.shield(self._begin_closing(pipeline, timeout))  # who waits may be cancelled; the closing goes on

    def _begin_closing(self, pipeline: Pipeline, timeout: float) -> asyncio.Task[None]:
        """Whoever asks for the run from here on waits until it is closed, and then opens it again."""
        self.runs.pop(pipeline.run_dir, None)
        self._complete_since.pop(pipeline.run_dir, None)
        self._peers = {peer: known for peer, known in self._peers.items() if known[0] is not pipeline}
        closing = self._closing[pipeline.run_dir] = asyncio.create_task(
            self._close_pipeline(pipeline, timeout), name=f"closing {pipeline.title}"
        )
        closing.add_done_callback(lambda _: self._closing.pop(pipeline.run_dir, None))
        closing.add_done_callback(self._ended)
        return closing

    async def _close_pipeline(self, pipeline: Pipeline, timeout: float) -> None:
        await pipeline.close(timeout)
        complete = pipeline.complete
        last = {"ledger": pipeline.ledger(), "complete": complete, "looks": pipeline.fanout.looks()}
        self.closed_runs[str(pipeline.run_dir)] = last
        if len(self.closed_runs) > CLOSED_RUNS:
            del self.closed_runs[next(iter(self.closed_runs))]
        left = self._estate.awaits(pipeline) or any(map(self._estate.is_left, pipeline.sessions.values()))
        if complete and not left:
            self._marker(pipeline.run_dir).unlink(missing_ok=True)
        how = "complete" if complete else "incomplete"
        log.info("run %s is closed, %s", pipeline.title, how, extra=about("run-closed", run=pipeline.title, cause=how))

    def _marker(self, run_dir: Path) -> Path:
        """A file that tells the next daemon of a run which this one may not live to finish."""
        digest = hashlib.blake2b(str(run_dir).encode(errors="surrogateescape"), digest_size=8).hexdigest()
        return self._runtime / "runs" / digest

    # -- the dead -----------------------------------------------------------------------------------------------

    async def recover(self, rings: list[Path], run_dirs: list[Path], runs: Iterable[Pipeline] = ()) -> None:
        """Take up runs that were not finished, and whatever dead ranks left in rings and spools, of open `runs` too."""
        pipelines = list(runs)
        for run_dir in run_dirs:
            try:
                pipelines.append(await self.open_run(run_dir))
            except Exception as error:  # one run's trouble, a defect even, is not that of the others
                self._left.add(run_dir, time.monotonic(), again_after(error))
                told = about("run-left", run=title(run_dir), cause=error)
                log.error("run %s can't be taken up: %s", run_dir, error, extra=told)
        await self._estate.recover(rings, pipelines)

    async def bury_unheard(self) -> None:
        """For who opens no door: a rank that has left no trace of its life can't say hello, and is dead."""
        for pipeline in list(self.runs.values()):
            for each in _by_launch(await self._dead(pipeline.sessions.values(), patience=0.0)):
                await self._estate.bury(pipeline, each)

    async def _watch(self) -> None:
        lookout = Lookout(WATCH_SECONDS)
        while True:
            stirred, self._stirred = self._stirred or not all(run.live for run in self.runs.values()), False
            await asyncio.sleep(lookout.next_wait(time.monotonic(), stirred=stirred))
            try:
                await self.look()
            except Exception as error:  # no descriptor or thread is left, say: the dead are found when there is one
                told = about("look-failed", cause=error)
                log.error("dead ranks can't be looked for now: %s", error, extra=told)

    async def look(self) -> None:
        """One round of the watch: bury the dead, tell of trouble, close what is complete."""
        burials = []
        found = await self._dead(session for run in self.runs.values() for session in run.sessions.values())
        gone = set(map(id, found))
        for pipeline in list(self.runs.values()):
            dead = [session for session in pipeline.sessions.values() if id(session) in gone]
            burials += [self._estate.bury(pipeline, each) for each in _by_launch(dead)]
            pipeline.fanout.tell_of_trouble()
            if not dead:  # a burial needs the run
                self._close_when_complete(pipeline)
        again, left = self._estate.due(), self._left.due(time.monotonic())
        spooled = [run for run in self.runs.values() if any(path.is_relative_to(run.run_dir) for path in again)]
        orphans = self._orphans()
        if orphans or again or left:
            await asyncio.gather(*burials)  # an orphan may be of a launch that supersedes theirs
            await self.recover(orphans, list(left), spooled)
            self._estate.tried(again)
            self._left.tried(left)
        self._live = self._count_live()
        if self._workers.pids():
            await asyncio.to_thread(self._workers.end_idle)

    async def _dead(self, sessions: Iterable[Session], patience: float | None = None) -> list[Session]:
        """Those whose processes have gone, and that are to be buried: after their END too, where they left files.
        `patience`: how long one without a ring may be silent, by default as is configured.
        """
        of_interest = [session for session in sessions if session.live or self._estate.is_left(session)]
        dead = [session for session in of_interest if session.ring is not None and recovery.owner_is_dead(session.ring)]
        silent = [session for session in of_interest if self._is_silent(session, patience)]
        if not silent:
            return dead
        spoolers = [(session.spool, session.stream.host, session.stream.pid) for session in silent]
        alive = await asyncio.to_thread(lambda: [recovery.is_written(*spooler) for spooler in spoolers])
        for session, is_alive in zip(silent, alive, strict=True):
            if not is_alive and self._is_silent(session, patience):  # it may have spoken meanwhile
                dead.append(session)
        return dead

    def _is_silent(self, session: Session, patience: float | None) -> bool:
        """Whether nothing but its words could tell that a stream lives, and there have been none for long."""
        patience = self._config.daemon.silence_timeout if patience is None else patience
        return session.ring is None and time.monotonic() - session.heard > patience

    def _close_when_complete(self, pipeline: Pipeline) -> None:
        now = time.monotonic()
        if pipeline.live:
            self.last_active = now
        if not pipeline.complete or self._estate.awaits(pipeline):
            self._complete_since.pop(pipeline.run_dir, None)
        elif now - self._complete_since.setdefault(pipeline.run_dir, now) > REST_SECONDS:
            self._begin_closing(pipeline, self._config.daemon.drain_timeout)

    def _orphans(self) -> list[Path]:
        """Rings of dead processes that never came to say hello, or whose run is closed."""
        left_alone = self._estate.left_alone
        known = {session.ring for run in self.runs.values() for session in run.sessions.values()}
        places_of_rings = [self._runtime, *self.runs]  # a ring for which memory had no room is in its run's directory
        rings = [ring for place in places_of_rings for ring in sorted((place / "rings").glob("*.ring"))]
        unknown = [ring for ring in rings if ring not in known and ring not in left_alone]
        return [ring for ring in unknown if recovery.owner_is_dead(ring)]

    def _left_runs(self) -> list[Path]:
        runs = [Path(marker.read_text().strip()) for marker in (self._runtime / "runs").iterdir()]
        return sorted(run for run in runs if is_run(run))  # its journal may have been removed since

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error, extra=about("task-failed", cause=error))

    @property
    def busy(self) -> bool:
        """Whether a rank is live, a dead one has left something, or a backend has something to get."""
        left = self._orphans() or self._estate.waits or self._left.waiting
        return bool(self._opening or left) or any(not run.complete for run in self.runs.values())


def _tell(incident: str, text: str, hello: Hello, error: Exception) -> None:
    run = run_of(hello)
    log.warning(text, run, hello.rank, error, extra=about(incident, run=run, rank=hello.rank, cause=error))


def _by_launch(sessions: Iterable[Session]) -> list[list[Session]]:
    launches: dict[str, list[Session]] = {}
    for session in sessions:
        launches.setdefault(session.stream.launch, []).append(session)
    return list(launches.values())


def _goes_on(pipeline: Pipeline, launch: str) -> bool:
    """Whether a rank of this launch is live already."""
    return any(session.stream.launch == launch and session.live for session in pipeline.sessions.values())
