"""The door to all runs of one daemon: which run a message belongs to, and what its sender is told."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from asynclog_proto import places
from asynclog_proto.errors import AsynclogError, ConfigError, ProtocolError
from asynclog_proto.frames import AddBackend, Ask, Batch, Finish, Flush, Heartbeat, Hello, Message, Refused, Reset
from asynclogd import claim, wanted
from asynclogd.answers import Send
from asynclogd.catalog import JOURNAL
from asynclogd.config import Config
from asynclogd.estate import Estate, run_of
from asynclogd.health import describe
from asynclogd.incidents import about
from asynclogd.journal import JournalBusyError
from asynclogd.pipeline import Pipeline
from asynclogd.rounds import PATIENCE_SECONDS, Rounds
from asynclogd.runs import Runs
from asynclogd.session import Session
from asynclogd.untaken import BusyError, RunDirError

log = logging.getLogger(__name__)

UNTAKEN_RUNS = 100
"""Runs that were asked for in vain and that are told of."""

EXCHANGE_SECONDS = 0.02
"""How often a sink that is to let go is looked at."""

BUSY_SECONDS = 3.0
"""Ranks whose run another process has open are told so after so long."""


class InVain(NamedTuple):
    """A run that ranks ask for in vain: why, and since when (monotonic seconds)."""

    why: str
    since: float


class Hub:
    """Owns the runs and the rounds between `open` and `close`."""

    def __init__(self, runtime: Path, config: Config, send: Send, *, own_backends: bool = False) -> None:
        """`own_backends`: the configuration's backends are used, whatever a run's `init` asked for."""
        self._config = config
        self._send = send
        self._own_backends = own_backends
        self._untaken: dict[str, InVain] = {}
        self._peers: dict[bytes, tuple[Pipeline, Session]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._estate = Estate(self._pipeline, has_remote=bool(config.daemon.bind))
        self._runs = Runs(runtime, config, send, has_left=self._estate.has_left, closes=self._forget)
        self.rounds = Rounds(runtime, config.daemon, self._runs, self._estate)

    async def open(self) -> None:
        """Take up what an earlier daemon or dead ranks left, and begin to watch. Where that takes long (a journal may
        refuse it, for a full disk) others are served meanwhile.
        """
        taking = self._spawn(self.rounds.recover(self.rounds.orphans(), self._runs.left()), "recovery")
        await asyncio.wait({taking}, timeout=PATIENCE_SECONDS)
        self._spawn(self._watch_after(taking), "watch")

    async def _watch_after(self, taking: asyncio.Task[None]) -> None:
        await asyncio.wait({taking})
        await self.rounds.watch()

    @property
    def runs(self) -> Mapping[Path, Pipeline]:
        """Those that are open, by directory."""
        return self._runs.open

    @property
    def closed_runs(self) -> Mapping[str, Mapping[str, Any]]:
        """What those that were closed lately came to, by directory."""
        return self._runs.closed

    @property
    def given_up(self) -> set[Path]:
        """Rings and spools that could not be taken up."""
        return self._estate.given_up

    @property
    def untaken(self) -> dict[str, str]:
        """Runs that ranks asked for in vain: directory and why."""
        return {run_dir: run.why for run_dir, run in self._untaken.items()}

    @property
    def busy(self) -> bool:
        """Whether a rank is live, a dead one has left something, or a backend has something to get."""
        try:
            return self._runs.busy or bool(self.rounds.orphans())
        except OSError:  # no descriptor is left to look with: something may be there
            return True

    async def open_run(self, run_dir: Path) -> Pipeline:
        """The run's pipeline, opened when it is not yet."""
        return await self._runs.get(run_dir)

    async def close(self, timeout: float) -> None:
        """Stop watching and close every run, all at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._estate.close()
        await self._runs.close_all(timeout)

    # -- messages -----------------------------------------------------------------------------------------------

    def deliver(self, peer: bytes, message: Message, payload: memoryview, *, afar: bool = False) -> None:
        """One message of a client, which is `afar` on another machine."""
        self.rounds.stirred = self.rounds.stirred or not isinstance(message, Heartbeat)
        if isinstance(message, Hello):
            self._spawn(self._hello(message, peer, afar=afar), "hello")
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

    async def _hello(self, hello: Hello, peer: bytes, *, afar: bool = False) -> None:
        try:
            pipeline = await self._pipeline(hello)
            if not _goes_on(pipeline, hello.launch):
                await self.rounds.bury_launches_before(pipeline, hello.launch)
            began = await pipeline.began(hello)
            session = pipeline.hello(hello, peer, self._reshape(pipeline, hello), began, afar=afar)
            self._runs.count_live()
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
        self.rounds.last_active = time.monotonic()

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

    def _forget(self, pipeline: Pipeline) -> None:
        """Its run is closed: who speaks for it has to say hello again."""
        self._peers = {peer: known for peer, known in self._peers.items() if known[0] is not pipeline}

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
        self.rounds.last_active = time.monotonic()

    def _note_untaken(self, hello: Hello, why: str) -> float:
        """For how many seconds the run has been asked for in vain."""
        run_dir, now = str(places.run_dir(hello.dir, hello.project, hello.name)), time.monotonic()
        before = self._untaken.get(run_dir)
        since = now if before is None else before.since
        self._untaken[run_dir] = InVain(why, since)
        if len(self._untaken) > UNTAKEN_RUNS:
            del self._untaken[next(iter(self._untaken))]
        return now - since

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
        most, live = self._config.daemon.max_streams, self._runs.count_live()
        run = self.runs.get(run_dir)
        known = run.sessions.get(incarnation) if run is not None else None
        comes = known is None or not known.live
        if comes and live >= most:
            raise BusyError(f"{live} streams are open: daemon.max_streams = {most}")
        self._runs.live = live + comes

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

    def _spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("%s failed", task.get_name(), exc_info=error, extra=about("task-failed", cause=error))


def _tell(incident: str, text: str, hello: Hello, error: Exception) -> None:
    run = run_of(hello)
    log.warning(text, run, hello.rank, error, extra=about(incident, run=run, rank=hello.rank, cause=error))


def _goes_on(pipeline: Pipeline, launch: str) -> bool:
    """Whether a rank of this launch is live already."""
    return any(session.stream.launch == launch and session.live for session in pipeline.sessions.values())
