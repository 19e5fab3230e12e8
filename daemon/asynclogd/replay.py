"""A run that no daemon has open, delivered to one backend: journal, fan-out and a sink, and nothing else of a daemon.

The backend becomes one of the run's: options and cursor are journaled, so a second replay goes on where the first one
stopped, and so does a daemon when the run is resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asynclog_proto import wire
from asynclog_proto.errors import ConfigError
from asynclogd import mending
from asynclogd.delivery import SinkStatus
from asynclogd.entries import Commit, Cursor, DeadLetter
from asynclogd.fanout import Fanout, choose
from asynclogd.journal import Journal
from asynclogd.media.store import MediaStore

FILTERS = ("names", "since")
"""Options that say which points a backend is shown: what it was given under others can't be told from the rest."""

FLUSH_SECONDS = 0.1


class Replay:
    """Delivers from `start` to `stop`. The journal is the sink's from then on: nobody else may touch it."""

    def __init__(
        self, run_dir: Path, journal: Journal, name: str, options: Mapping[str, Any], *, again: bool = False
    ) -> None:
        """Nothing is written yet. `again`: from the run's beginning, as if the backend had nothing. Raises ConfigError
        for filters that are not those of before.
        """
        backends = journal.facts().get("backends", {})
        self._cursor = journal.cursor(name) or Cursor()
        self._again = again and self._cursor != Cursor()
        self._cursor = Cursor() if again else self._cursor
        self.total = journal.last_offset
        self.options = agreed(name, backends.get(name), options, delivered=self._cursor != Cursor())
        wire.pack(self.options)  # what can't be journaled is refused before anything is delivered
        self._name, self._journal = name, journal
        self._facts: dict[str, Any] = {"backends": {**backends, name: self.options}}
        self._world = max((stream.world_size for stream in journal.streams()), default=1)
        self._store = MediaStore(run_dir / "media")
        read = mending.Items(journal).read
        self._fanout = Fanout(run_dir, read, self.total, self._moved, FLUSH_SECONDS, read_blob=self._store.read)

    def start(self) -> None:
        """Begin. Raises ConfigError for wrong options."""
        if self._again:  # as a backend that starts over: that nothing counts is journaled before that is made true
            choose(self._name, self.options)
            self._moved(self._name, self._cursor, [], surely=True)
        self._fanout.add(self._name, self.options, self._world, self._cursor)

    @property
    def status(self) -> SinkStatus:
        """How the sink is."""
        self._fanout.tell_of_trouble()
        return self._fanout.statuses()[self._name]

    @property
    def looks(self) -> dict[str, str]:
        """How a person looks at what the backend has."""
        return self._fanout.looks()

    @property
    def done(self) -> bool:
        """Whether the backend has everything."""
        return self.status.cursor.offset >= self.total

    def stop(self, timeout: float, *, drain: bool = True) -> bool:
        """Flush, journal and close, in at most `timeout` seconds. Whether the backend has let go in that time."""
        return not self._fanout.stop(timeout, drain=drain)

    def _moved(self, name: str, cursor: Cursor, letters: list[DeadLetter], surely: bool) -> None:
        """In the sink's thread. The backend is one of the run's once it has something, and not before."""
        del surely
        self._journal.commit(Commit(cursors={name: cursor}, dead_letters=letters, facts=self._facts))
        self._facts = {}


def agreed(name: str, known: Mapping[str, Any] | None, given: Mapping[str, Any], *, delivered: bool) -> dict[str, Any]:
    """The options to go on with: those of before, and what is given anew. Raises ConfigError for other filters than
    those that something was delivered under.
    """
    before = {key: value for key, value in (known or {}).items() if key in FILTERS}
    now = {key: value for key, value in given.items() if key in FILTERS}
    if delivered and before != now:
        raise ConfigError(
            f"{name} has been given {_described(before)} of this run, not {_described(now)}: say the same again to go "
            "on (a second place for other points is --to OTHER --option class=package.module:Class)"
        )
    kept = {key: value for key, value in (known or {}).items() if key not in FILTERS}
    return {**kept, **given}


def _described(filters: Mapping[str, Any]) -> str:
    names, since = filters.get("names"), filters.get("since")
    parts = [f"--names {' --names '.join(map(repr, names))}"] if names else []
    parts += [f"--since {since}"] if since is not None else []
    return " ".join(parts) or "everything"
