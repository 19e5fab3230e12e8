"""A run's directory, its items, and what a journal would keep of one sink."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from asynclogd.backends.base import Backend, RunInfo
from asynclogd.delivery import CursorMoved, SinkSettings
from asynclogd.entries import Cursor, DeadLetter
from asynclogd.points import Item
from asynclogd.ratelimit import RateLimiter
from asynclogd.sink import Sink
from asynclogd.tail import TailLog

FAST = SinkSettings(flush_interval=0.0, first_retry=0.0001, longest_retry=0.001)


class Place:
    """Makes sinks, one after the other, that go on where the last one was committed."""

    def __init__(self, run_dir: Path, items: Sequence[Item] = ()) -> None:
        self.run = RunInfo("project", run_dir.name, run_dir, run_dir / "file")
        self.log = TailLog(lambda *_: [], 0)
        for item in items:
            self.add(item)
        self.cursor = Cursor()
        self.cursors: list[Cursor] = []
        self.letters: list[DeadLetter] = []

    def add(self, item: Item) -> None:
        self.log.append(self.log.last_offset + 1, item)

    def commit(self, _: str, cursor: Cursor, letters: list[DeadLetter], surely: bool) -> None:
        del surely
        self.cursor = cursor
        self.cursors.append(cursor)
        self.letters += letters

    def sink(
        self,
        backend: Backend,
        rules: dict[str, float] | None = None,
        times: SinkSettings = FAST,
        commit: CursorMoved | None = None,
    ) -> Sink:
        limiter = RateLimiter(rules or {})
        sink = Sink("file", backend, self.run, self.log, limiter, self.cursor, commit or self.commit, times)
        sink.start()
        return sink

    def text(self) -> str:
        return (self.run.own_dir / "lines").read_text()
