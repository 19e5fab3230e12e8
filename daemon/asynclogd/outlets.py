"""A run's backends as its commits see them: where each one begins, and how far each has come."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from asynclogd.committer import Committer
from asynclogd.config import DaemonSettings
from asynclogd.entries import Cursor, DeadLetter
from asynclogd.fanout import Fanout
from asynclogd.points import Blob
from asynclogd.registry import CLASS, Registry
from asynclogd.store import RunStore

LOCAL_CURSOR_SECONDS = 1.25
"""Cursors of local backends wait so long for a commit that is made anyway: while ranks log there is one a second at
least, unless ASYNCLOG_FLUSH_MS is longer.
"""

LAST_CURSOR_SECONDS = 0.0
"""Where no rank is live such a commit may never come."""

JOURNALED_WITHIN = 60.0
"""s: a sink that has to be sure of a cursor waits so long for the journal, and then says it again."""


class Outlets:
    """Owns the run's fanout. On the event loop, where it calls `moved()` when a cursor has."""

    def __init__(
        self,
        run_dir: Path,
        settings: DaemonSettings,
        registry: Registry,
        store: RunStore,
        commits: Committer,
        read_blob: Callable[[Blob], bytes],
        moved: Callable[[], None],
    ) -> None:
        """Cursors begin as they are journaled in the `store`."""
        self._loop = asyncio.get_running_loop()
        self._fsync = settings.durability == "fsync"
        self._registry, self._commits, self._moved = registry, commits, moved
        self._journaled = store.journal.cursors()
        self.fanout = Fanout(
            run_dir,
            lambda after, max_bytes: commits.from_other_thread(lambda: store.items(after, max_bytes)),
            store.journal.last_offset,
            self._moved_in_sink,
            settings.flush_interval,
            build=registry.build,
            read_blob=read_blob,
        )

    def add(self, name: str, options: Mapping[str, Any], world: int) -> None:
        """Start delivering to a backend, from where its cursor stands. Raises ConfigError for bad options."""
        self.fanout.add(name, self._durable(name, options), world, self._journaled.get(name, Cursor()))

    def exchange(self, name: str, options: Mapping[str, Any], world: int) -> None:
        """Go on with a backend whose sink has ended, under other options. Raises ConfigError for bad ones."""
        self.fanout.exchange(name, self._durable(name, options), world)

    def committed(self, cursors: Mapping[str, Cursor]) -> None:
        """These are journaled."""
        self._journaled.update(cursors)

    def cursors(self) -> dict[str, Cursor]:
        """How far each backend is, those that the run has no more included."""
        return {**self._journaled, **self.fanout.cursors()}

    def _durable(self, name: str, options: Mapping[str, Any]) -> Mapping[str, Any]:
        if not self._fsync:
            return options
        config = self._registry.find(name, options.get(CLASS)).Config
        # After a power loss no cursor may be ahead of its file.
        return {"fsync": True, **options} if "fsync" in config.__struct_fields__ else options

    def _moved_in_sink(self, name: str, cursor: Cursor, dead_letters: list[DeadLetter], surely: bool) -> None:
        self._loop.call_soon_threadsafe(self._moved_to, name, cursor, dead_letters)
        if surely:
            asyncio.run_coroutine_threadsafe(self._commits.round(), self._loop).result(JOURNALED_WITHIN)

    def _moved_to(self, name: str, cursor: Cursor, dead_letters: list[DeadLetter]) -> None:
        self._commits.work.cursors[name] = cursor
        self.fanout.moved(name, cursor)
        self._commits.work.dead_letters.extend(dead_letters)
        # After a crash a local file is cut to the cursor that is journaled; others would get again what is after it.
        local = LOCAL_CURSOR_SECONDS if self._commits.expected else LAST_CURSOR_SECONDS
        self._commits.gather(local if self.fanout.sinks[name].local else 0.0)
        self._moved()
