"""The daemon in this process, driven by hand: the hub and all below it, real journal, real sinks and files. Messages
come one by one, commits happen when they are asked for, sinks go on when they are let (gate.py), and the daemon can die
at each of these places: what lies in its files then is what the next one has.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from asynclog_proto import frames
from asynclog_proto.frames import Message
from asynclogd.catalog import JOURNAL
from asynclogd.config import Config, DaemonSettings, HostMetrics
from asynclogd.entries import Commit
from asynclogd.hub import Hub
from asynclogd.journal import Journal
from asynclogd.pipeline import Pipeline
from asynclogd.sink import Sink
from tests.faults.gate import DiedError, Gate, Gated

LONG = 1e6
"""s: nothing in the daemon is due by itself"""

CONFIG = Config(
    daemon=DaemonSettings(join_deadline=LONG, step_deadline=LONG, commit_interval=LONG, silence_timeout=LONG),
    host_metrics=HostMetrics(enabled=False),
)
MOST_SECONDS = 30.0

CommitCall = Callable[[Journal, Commit], list[int]]


class HandDaemon:
    """One life of the daemon. `answer(peer, parts)` is called with each message that it sends."""

    def __init__(self, runtime: Path, run_dir: Path, answer: Callable[[bytes, list[bytes]], None]) -> None:
        self.gate = Gated.gate = Gate()
        self.dead = self.over = False
        self._run_dir, self._answer = run_dir, answer
        self._commits_left = -1
        self._dies = ""
        self._full = 0
        self._journal: Journal | None = None
        self._image: dict[Path, bytes] = {}
        self._runs: set[Pipeline] = set()
        self._loop = asyncio.new_event_loop()
        self._died = asyncio.Event()
        self.hub = Hub(runtime, CONFIG, self._send)

    # -- what it does -------------------------------------------------------------------------------------------

    def open(self) -> None:
        """As `Hub.open`, but for the watch, whose rounds are `look`."""
        self._do(self.hub.rounds.recover(self.hub.rounds.orphans(), self.hub._runs.left()))

    def open_run(self) -> None:
        """Have the run open, complete or not."""

        self._do(self.hub.open_run(self._run_dir))

    def sync(self) -> None:
        """As `asynclog sync` does: take up the run's spools, whether anybody has heard of their ranks or not."""
        self._do(self.hub.rounds.recover([], [self._run_dir]))

    def deliver(self, peer: bytes, parts: list[bytes]) -> None:
        """One message comes in."""

        async def act() -> None:
            message, payload = frames.decode(parts)
            self.hub.deliver(peer, message, payload)
            while self.hub._tasks:
                await asyncio.wait(self.hub._tasks)

        self._do(act())

    def look(self) -> None:
        """See who has died."""

        async def act() -> None:
            if self.run is not None and self.run.complete:
                self.gate.let(1 << 30)  # it may be closed, which waits for its sinks
            await self.hub.rounds.look()
            await self.hub.rounds.look()
            while tasks := [*self.hub._estate._burials.values(), *self.hub._runs.closing.values()]:
                await asyncio.wait(tasks)
            self.gate.passes = 0

        self._do(act())

    def commit(self, *, always: bool = False) -> None:
        """Everything that has come in; nothing where nothing has, unless `always`."""

        async def act() -> None:
            for run in list(self.hub.runs.values()):
                await (run._commits.round() if always else run._commits.settle())

        self._do(act())

    def sinks(self, passes: int) -> None:
        """Let the sinks' threads go past so many places."""

        async def act() -> None:
            self.gate.let(passes)
            await self._until_quiet()
            self.gate.passes = 0

        self._do(act())

    def pass_deadlines(self) -> None:
        """The run's clock goes on by more than every deadline."""
        for run in self.hub.runs.values():
            run._commits._clock_offset += 2 * LONG
        self.commit(always=True)

    @property
    def run(self) -> Pipeline | None:
        """The run, while it is open."""
        return self.hub.runs.get(self._run_dir)

    # -- how it ends --------------------------------------------------------------------------------------------

    def close(self) -> None:
        """In order, unless it dies meanwhile."""
        self.gate.let(1 << 30)
        self._do(self.hub.close(MOST_SECONDS))
        if self.dead:
            self.die()
        else:
            self._end_loop()

    def dies_at(self, commits: int, how: str) -> None:
        """Die with that commit from now: "before" it, "after" it and before anybody hears of it, or "torn": the file
        has a part of it.
        """
        self._commits_left, self._dies = commits, how

    def disk_full(self, times: int) -> None:
        """The journal's disk refuses so many commits."""
        self._full = times

    def die(self) -> None:
        """SIGKILL, wherever it is; or what is left to do after `dies_at`."""
        self.dead = True
        sinks = [sink for run in self._runs for sink in run.fanout.sinks.values()]
        for sink in sinks:
            sink.ask_stop("abandon")
        self.gate.end()
        self._loop.run_until_complete(self._abandon())
        assert all(sink.join(MOST_SECONDS) for sink in sinks)
        for run in self._runs:
            run._commits._thread.shutdown()
        self._restore()
        self._end_loop()

    def journal_commit(self, real: CommitCall, journal: Journal, commit: Commit) -> list[int]:
        """In place of `Journal.commit`, in its thread."""
        self._journal = journal
        if self.dead:
            raise DiedError
        if self._full:
            self._full -= 1
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._commits_left -= 1
        if self._commits_left != 0:
            return real(journal, commit)
        before = self._take_image(journal)
        if self._dies != "before":
            real(journal, commit)
            after = self._take_image(journal)
            if self._dies == "torn":
                wal = journal.path.with_name(JOURNAL + "-wal")
                kept = len(before.get(wal, b""))
                after[wal] = after[wal][: kept + max(0, len(after[wal]) - kept) * 2 // 3]
            before = after
        self._image = before
        self.dead = True
        self._loop.call_soon_threadsafe(self._died.set)
        raise DiedError

    # -- how it is done -----------------------------------------------------------------------------------------

    def _send(self, peer: bytes, message: Message) -> None:
        if not self.dead:
            self._answer(peer, [bytes(part) for part in frames.encode(message)])

    def _do(self, act: Coroutine[Any, Any, object]) -> None:
        """Have it done, and all that follows of itself, so that the same calls lead to the same state."""

        async def until_done() -> None:
            tasks = [asyncio.create_task(self._until_quiet(act)), asyncio.create_task(self._died.wait(), name="died")]
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED, timeout=MOST_SECONDS)
            assert done, f"nothing goes on: {act}"
            if tasks[0] in done and not self.dead:
                tasks[1].cancel()
                await tasks[0]

        self._loop.run_until_complete(until_done())
        self._runs.update(self.hub.runs.values())

    async def _until_quiet(self, act: Coroutine[Any, Any, object] | None = None) -> None:
        if act is not None:
            await act
        end = time.monotonic() + MOST_SECONDS
        while not all(map(self._is_quiet, self.hub.runs.values())):
            assert time.monotonic() < end, "a run does not come to rest"
            await asyncio.sleep(0.0002)

    def _is_quiet(self, run: Pipeline) -> bool:
        commits = run._commits
        rests = all(map(self._rests, run.fanout.sinks.values()))
        return rests and not commits._committing and not commits._wake.is_set()

    def _rests(self, sink: Sink) -> bool:
        caught_up = sink._bell._idle and sink.offset >= sink._items.last_offset
        return self.gate.waiting or caught_up or sink.ended

    async def _abandon(self) -> None:
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _take_image(self, journal: Journal) -> dict[Path, bytes]:
        files = (journal.path, journal.path.with_name(JOURNAL + "-wal"))
        return {path: path.read_bytes() for path in files if path.exists()}

    def _restore(self) -> None:
        """The journal's files as SIGKILL leaves them: closing moves the log into the database."""
        if self._journal is None:
            return
        with contextlib.suppress(sqlite3.ProgrammingError):  # it is closed
            self._journal._connection.total_changes  # noqa: B018 - asks
            self._image = self._image or self._take_image(self._journal)
            self._journal.close()
        for path, data in self._image.items():
            path.write_bytes(data)

    def _end_loop(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self.over = True
