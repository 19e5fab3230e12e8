"""The daemon's life: the only owner of start, stop and signals."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import os
import signal
import time
from pathlib import Path

import psutil

from asynclog_proto import records
from asynclog_proto.beats import next_beat
from asynclog_proto.errors import AsynclogError, ConfigError
from asynclog_proto.frames import AddBackend, Message, Query, Refused, Report
from asynclogd import keys, listening, remote
from asynclogd.config import Config
from asynclogd.doors import DaemonLock, connections_within, prepare_runtime, raise_file_limit
from asynclogd.health import describe
from asynclogd.hostmetrics import HostSampler, log_metrics
from asynclogd.hub import Hub
from asynclogd.incidents import about
from asynclogd.ingest import Ingest, Remote
from asynclogd.lookout import SILENT_SECONDS, Lookout
from asynclogd.report import report
from asynclogd.scrape import Picture, Scrape

log = logging.getLogger(__name__)

FIRST_SAMPLE_SECONDS = 1.0
WATCH_SECONDS = 0.25
MOVED_BYTES = 1 << 20
"""Memory that has moved by so much since the last look is looked at soon again."""
CROWDED = 0.75
"""Nobody else is let in while so much of all file descriptors is in use."""


class Server:
    """One daemon on one runtime directory. `auto` ends it after its idle timeout, though not while the process
    `owner` lives.
    """

    def __init__(self, runtime: Path, config: Config, *, auto: bool = False, owner: int | None = None) -> None:
        self.config = config
        self._owner = owner
        self._auto = auto
        self._stopping = asyncio.Event()
        self._started = time.monotonic()
        self._runtime = runtime
        self._tasks: set[asyncio.Task[None]] = set()
        self._remote_dir = Path(config.daemon.remote_dir).absolute()
        self.ingest = Ingest(self._deliver)
        self.hub = Hub(runtime, config, self.ingest.send)
        self.scrape = Scrape(config.prometheus, self._picture)

    async def serve(self) -> None:
        """Start, work until told to stop, stop. Raises DaemonRunningError, UnsafePathError, ConfigError before anything
        runs.
        """
        prepare_runtime(self._runtime)
        lock = DaemonLock(self._runtime)
        try:
            self._descriptors = raise_file_limit()
            self._catch_signals()
            # Consumers first, producers last; and the other way round at the end.
            self._open_doors()
            await self.hub.open()
            self.ingest.start()
            await self.scrape.open()
            log.info("serving %s, pid %d", " and ".join(self.ingest.addresses), os.getpid())
            await self._work()
            await self._stop()
        finally:
            lock.release()

    def _open_doors(self) -> None:
        bind, who = self.config.daemon.bind, None
        if bind:  # who may come in is known before anybody can
            directory = keys.keys_dir()
            who = Remote(keys.daemon_pair(directory), keys.AllowList(directory).names)
            if not keys.allowed(directory):
                raise ConfigError(f"{bind}: no key is allowed in {directory}: `asynclog keys allow`")
        where = [listening.on_port(bind)] if bind else []
        where.insert(0, listening.on_path(self._runtime / "daemon.sock"))
        most = connections_within(self._descriptors, self.config.daemon.max_connections, len(where))
        self.ingest.open(where, most, who)

    async def _work(self) -> None:
        tasks = [asyncio.create_task(self._watch_doors())]
        if self.config.host_metrics.enabled:
            tasks.append(asyncio.create_task(self._sample_host()))
        if self._auto:
            tasks.append(asyncio.create_task(self._stop_when_idle()))
        await self._stopping.wait()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _stop(self) -> None:
        log.info("stopping")
        self.ingest.pause()
        await self.scrape.close()
        await self.hub.close(self.config.daemon.drain_timeout)
        self.ingest.close()
        with contextlib.suppress(FileNotFoundError):
            (self._runtime / "daemon.sock").unlink()
        log.info("stopped")

    def _catch_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: int) -> None:
        if self._stopping.is_set():
            log.warning("told to stop twice: leaving at once; the journal has all that was acked")
            os._exit(128 + number)
        self._stopping.set()

    def _deliver(self, peer: bytes, message: Message, payload: memoryview) -> None:
        afar = self.ingest.is_remote(peer)
        if afar:
            try:
                message = remote.restrict(message, self._remote_dir, self.config.backends)
            except remote.NotFromAfarError as error:
                told = about("remote-refused", cause=error)
                log.warning("refused to a peer on another machine: %s", error, extra=told)
                self.ingest.send(peer, Refused(str(error)))
                return
        if isinstance(message, Query):
            self._report(peer)
            if message.what == "stop":
                self._stopping.set()
        elif isinstance(message, AddBackend):
            task = asyncio.create_task(self._add_backend(peer, message))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        else:
            self.hub.deliver(peer, message, payload, afar=afar)

    def _report(self, peer: bytes) -> None:
        told = report(self.hub, self.ingest, self._started)
        told["prometheus"] = {"url": self.scrape.url, "error": self.scrape.error}
        self.ingest.send(peer, Report(told))

    def _picture(self) -> Picture:
        runs = self.hub.runs.values()
        values = {str(run.run_dir): dict(run.last_values.values) for run in runs if run.last_values is not None}
        return Picture(report(self.hub, self.ingest, self._started), values)

    async def _add_backend(self, peer: bytes, asked: AddBackend) -> None:
        try:
            await self.hub.add_backend(asked)
        except AsynclogError as error:
            self.ingest.send(peer, Refused(str(error)))
        else:
            self._report(peer)

    async def _stop_when_idle(self) -> None:
        settings = self.config.daemon
        often = min(SILENT_SECONDS, max(WATCH_SECONDS, settings.idle_timeout / 4))  # 0 is: at once
        while True:
            await asyncio.sleep(next_beat(now := time.monotonic(), often) - now)
            if self._owner is not None and psutil.pid_exists(self._owner):
                self.hub.rounds.last_active = time.monotonic()
            idle = time.monotonic() - max(self.hub.rounds.last_active, self._started)
            busy = self.hub.busy or self.hub.rounds.waits
            if idle > settings.idle_timeout and (not busy or idle > settings.linger_timeout):
                log.info("idle for %.0f s: ending", idle)
                self._stopping.set()

    async def _watch_doors(self) -> None:
        process, lookout, before, stirred = psutil.Process(), Lookout(WATCH_SECONDS), (0, 0), True
        while True:
            await asyncio.sleep(lookout.next_wait(time.monotonic(), stirred=stirred))
            descriptors, rss = process.num_fds(), process.memory_info().rss
            self.ingest.watch(rss, crowded=descriptors > CROWDED * self._descriptors)
            stirred = descriptors != before[0] or abs(rss - before[1]) > MOVED_BYTES
            before = descriptors, rss

    async def _sample_host(self) -> None:
        sampler = await asyncio.to_thread(HostSampler, self._runtime)
        delay = min(FIRST_SAMPLE_SECONDS, self.config.host_metrics.interval)
        while True:
            await asyncio.sleep(delay)
            delay = self.config.host_metrics.interval
            try:
                self._tell_of_host(await asyncio.to_thread(sampler.sample))
            except Exception as error:  # psutil's or NVML's, of a machine that shows less than others for a while
                told = about("host-metrics", cause=error)
                log.warning("the node's metrics can't be had now: %s", describe(error), extra=told)

    def _tell_of_host(self, values: dict[str, float]) -> None:
        for run in list(self.hub.runs.values()):
            if run.live:
                sessions = run.sessions.values()
                step = max(session.step for session in sessions)
                own = values | log_metrics(session.log_times for session in sessions if session.live)
                run.host_rows(host_records(own, max(0, step), time.time()), count=2)


def host_records(values: dict[str, float], step: int, now: float) -> bytes:
    """A LAYOUT and a ROW of host metrics. The layout's number comes from its names, so that it may be said again."""
    names = tuple(values)
    number = int.from_bytes(hashlib.blake2b("\0".join(names).encode(), digest_size=4).digest(), "big")
    row = records.Row(number, step, now, 1.0, tuple(values.values()))
    return records.encode(records.Layout(number, names)) + records.encode(row)
