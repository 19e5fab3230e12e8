"""The runs that a daemon has open: each is opened once, whoever asks, closed once, and then remembered for a while."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from asynclogd import claim, wanted
from asynclogd.answers import Send
from asynclogd.catalog import is_run
from asynclogd.config import Config
from asynclogd.incidents import about
from asynclogd.lastvalues import LastValues
from asynclogd.media.workers import Workers
from asynclogd.pipeline import Pipeline
from asynclogd.registry import Registry
from asynclogd.untaken import BusyError, RunDirError

log = logging.getLogger(__name__)

CLOSED_RUNS = 100
"""Closed runs whose last ledger is kept, for `asynclog run` and `status --json`."""


class Runs:
    """Owns the pipelines between `get` and `close`, and what they share."""

    def __init__(
        self,
        runtime: Path,
        config: Config,
        send: Send,
        *,
        has_left: Callable[[Pipeline], bool],
        closes: Callable[[Pipeline], None],
    ) -> None:
        """`has_left`: whether something of a run is still to be taken up, for which its marker stays. `closes` is told
        of each run that takes nothing more.
        """
        self.open: dict[Path, Pipeline] = {}
        self.closed: dict[str, dict[str, Any]] = {}
        """their ledgers and the like, by directory"""
        self.closing: dict[Path, asyncio.Task[None]] = {}
        self.live = 0
        """live streams of all runs, as counted last"""
        daemon = config.daemon
        self.workers = Workers(daemon.media_workers, daemon.media_seconds, daemon.media_memory_mb << 20)
        self._opening: dict[Path, asyncio.Task[Pipeline]] = {}
        self._registry = Registry()
        self._markers = runtime / "runs"
        self._config = config
        self._send = send
        self._has_left = has_left
        self._closes = closes

    async def get(self, run_dir: Path) -> Pipeline:
        """The run's pipeline, opened when it is not yet; eight ranks that ask at once get the same one."""
        if run_dir in self.closing:
            await asyncio.shield(self.closing[run_dir])
        if run_dir in self.open:
            return self.open[run_dir]
        task = self._opening.get(run_dir)
        if task is None:
            if len(self.open) >= self._config.daemon.max_runs:
                raise BusyError(f"{len(self.open)} runs are open: daemon.max_runs = {self._config.daemon.max_runs}")
            task = self._opening[run_dir] = asyncio.create_task(self._open(run_dir))
            task.add_done_callback(lambda _: self._opening.pop(run_dir, None))
        return await asyncio.shield(task)

    async def _open(self, run_dir: Path) -> Pipeline:
        self.closed.pop(str(run_dir), None)
        pipeline = Pipeline(run_dir, self._config.daemon, self._send, self.workers, self._registry)
        pipeline.live_streams = lambda: self.live
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
        self.open[run_dir] = pipeline
        marker = self._marker(run_dir)
        marker.touch(0o600)
        marker.write_text(f"{run_dir}\n")
        log.info("run %s is open", pipeline.title, extra=about("run-open", run=pipeline.title))
        return pipeline

    async def close(self, pipeline: Pipeline, timeout: float) -> None:
        """Close a run, and wait for that."""
        await asyncio.shield(self.begin_closing(pipeline, timeout))  # who waits may be cancelled; the closing goes on

    def begin_closing(self, pipeline: Pipeline, timeout: float) -> asyncio.Task[None]:
        """Whoever asks for the run from here on waits until it is closed, and then opens it again."""
        self.open.pop(pipeline.run_dir, None)
        self._closes(pipeline)
        closing = self.closing[pipeline.run_dir] = asyncio.create_task(
            self._close(pipeline, timeout), name=f"closing {pipeline.title}"
        )
        closing.add_done_callback(lambda done: self._closed(pipeline, done))
        return closing

    async def close_all(self, timeout: float) -> None:
        """Close every run, all at once, and what they share."""
        for task in self._opening.values():
            task.cancel()
        await asyncio.gather(*self._opening.values(), return_exceptions=True)
        await asyncio.gather(*self.closing.values(), return_exceptions=True)
        await asyncio.gather(*(self.close(run, timeout) for run in list(self.open.values())))
        await asyncio.to_thread(self.workers.close)

    async def _close(self, pipeline: Pipeline, timeout: float) -> None:
        await pipeline.close(timeout)
        complete = pipeline.complete
        last = {"ledger": pipeline.ledger(), "complete": complete, "looks": pipeline.fanout.looks()}
        self.closed[str(pipeline.run_dir)] = last
        if len(self.closed) > CLOSED_RUNS:
            del self.closed[next(iter(self.closed))]
        if complete and not self._has_left(pipeline):
            self._marker(pipeline.run_dir).unlink(missing_ok=True)
        how = "complete" if complete else "incomplete"
        log.info("run %s is closed, %s", pipeline.title, how, extra=about("run-closed", run=pipeline.title, cause=how))

    def _closed(self, pipeline: Pipeline, closing: asyncio.Task[None]) -> None:
        self.closing.pop(pipeline.run_dir, None)
        if not closing.cancelled() and (error := closing.exception()) is not None:
            log.error("%s failed", closing.get_name(), exc_info=error, extra=about("task-failed", cause=error))

    def count_live(self) -> int:
        """How many streams are live."""
        self.live = sum(session.live for run in self.open.values() for session in run.sessions.values())
        return self.live

    @property
    def busy(self) -> bool:
        """Whether one is being opened, has a live rank, or has something that a backend is to get."""
        return bool(self._opening) or any(not run.complete for run in self.open.values())

    def left(self) -> list[Path]:
        """Directories of those that an earlier daemon did not live to finish."""
        runs = [Path(marker.read_text().strip()) for marker in self._markers.iterdir()]
        return sorted(run for run in runs if is_run(run))  # its journal may have been removed since

    def _marker(self, run_dir: Path) -> Path:
        """A file that tells the next daemon of a run which this one may not live to finish."""
        digest = hashlib.blake2b(str(run_dir).encode(errors="surrogateescape"), digest_size=8).hexdigest()
        return self._markers / digest
