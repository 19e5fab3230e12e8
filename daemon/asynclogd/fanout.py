"""Fan-out: the newest items of a run in memory, and the sinks that follow them."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import msgspec

from asynclog_proto.errors import ConfigError
from asynclogd import cadence, rates, registry
from asynclogd.backends.base import Backend, RunInfo
from asynclogd.cadence import Delivery
from asynclogd.delivery import CursorMoved, Limiter, SinkStatus
from asynclogd.entries import Cursor
from asynclogd.inquiry import look
from asynclogd.points import Blob, Item
from asynclogd.ratelimit import RateLimiter
from asynclogd.selection import Selection
from asynclogd.sink import Sink
from asynclogd.tail import ReadItems, TailLog

REMOTE_FLUSH_INTERVAL = 1.0
"""s: backends that nobody waits for are given larger batches"""

Build = Callable[[str, Mapping[str, Any]], Backend]


class Chosen(NamedTuple):
    """A backend, not opened, its limiter, its own directory within the run's, and how it is delivered to."""

    backend: Backend
    limiter: Limiter
    subdir: str
    delivery: Delivery


def choose(name: str, options: Mapping[str, Any], build: Build = registry.build) -> Chosen:
    """A backend by its name. Every one has the options `rate_limit` (rates.py), `system_metrics`, whether it is shown
    the host's, `names` and `since`, patterns and the first step of what it is shown, `delivery` (cadence.py), and
    `subdir`, its directory within the run's; the rest are its own. Raises ConfigError.
    """
    own = dict(options)
    subdir = _checked_subdir(name, own.pop("subdir", name))
    delivery = _option(name, "delivery", own.pop("delivery", {}), Delivery, cadence.ALLOWED)
    rules, host = own.pop("rate_limit", {}), own.pop("system_metrics", True)
    names, since = own.pop("names", ()), own.pop("since", None)
    backend = build(name, own)
    limiter = _limiter(name, rules, backend.default_rate_limit, host)
    return Chosen(backend, _selection(name, limiter, names, since), subdir, delivery)


def looks(run_dir: Path, backends: Mapping[str, Mapping[str, Any] | None]) -> dict[str, str]:
    """How a person looks at what each backend of a run has that nobody has open; {name: options}."""
    found = {}
    for name, options in backends.items():
        with suppress(ConfigError):  # it can't be had here
            chosen = choose(name, options or {})
            found[name] = look(chosen.backend, _run(run_dir, chosen.subdir))
    return found


def _run(run_dir: Path, subdir: str) -> RunInfo:
    return RunInfo(project=run_dir.parent.name, name=run_dir.name, dir=run_dir, own_dir=run_dir / subdir)


def _limiter(name: str, rules: object, defaults: Mapping[str, float], host: object) -> RateLimiter:
    shown = _option(name, "system_metrics", host, bool, "true or false")
    try:
        return RateLimiter(rates.parse(rules, defaults), host=shown)
    except ConfigError as error:
        raise ConfigError(f"backend {name!r}: option 'rate_limit': {error} (allowed: {rates.ALLOWED})") from error


def _selection(name: str, limiter: Limiter, names: object, since: object) -> Limiter:
    if not names and since is None:
        return limiter
    patterns = [names] if isinstance(names, str) else names
    shown = _option(name, "names", patterns, list[str], "a list of patterns of names")
    first = None if since is None else _option(name, "since", since, int, "a step, a whole number")
    return Selection(limiter, shown, first)


def _option(name: str, option: str, value: object, kind: Any, allowed: str) -> Any:
    try:
        return msgspec.convert(value, kind, strict=False)
    except msgspec.ValidationError as error:
        raise ConfigError(f"backend {name!r}: option {option!r}: {error} (allowed: {allowed})") from error


def _checked_subdir(name: str, given: object) -> str:
    """A backend writes nowhere but in its run's directory. Backends may share a directory: their files differ."""
    path = PurePosixPath(given) if isinstance(given, str) and given and given.isprintable() else None
    if path is None or path.is_absolute() or ".." in path.parts:
        allowed = "a relative path without '..'; '.' is the run's own directory"
        raise ConfigError(f"backend {name!r}: option 'subdir': {given!r} is outside of the run (allowed: {allowed})")
    return str(path)


class Fanout:
    """Owns the sinks of one run, and what they read. Called from one thread; `stop` is the only call that waits."""

    def __init__(
        self,
        run_dir: Path,
        read_older: ReadItems,
        last_offset: int,
        cursor_moved: CursorMoved,
        flush_interval: float,
        build: Build = registry.build,
        read_blob: Callable[[Blob], bytes] | None = None,
    ) -> None:
        """`run_dir` is <dir>/<project>/<run name>; `flush_interval` is in seconds, for local backends."""
        self.items = TailLog(read_older, last_offset)
        self.sinks: dict[str, Sink] = {}
        self._told: dict[str, Cursor] = {}
        self._run_dir, self._cursor_moved, self._build = run_dir, cursor_moved, build
        self._flush_interval, self._read_blob = flush_interval, read_blob

    def add(self, name: str, options: Mapping[str, Any], world: int, cursor: Cursor) -> None:
        """Start delivering to a backend from `cursor`; nothing happens when it is there already.

        `options` are as in `choose`. Raises ConfigError.
        """
        if name in self.sinks:
            return
        backend, limiter, subdir, delivery = choose(name, options, self._build)
        run = replace(_run(self._run_dir, subdir), world=world, read_blob=self._read_blob)
        interval = self._flush_interval if backend.local else max(self._flush_interval, REMOTE_FLUSH_INTERVAL)
        settings = delivery.settings(interval, backend.points_per_second)
        self.attach(Sink(name, backend, run, self.items, limiter, cursor, self._cursor_moved, settings))

    def exchange(self, name: str, options: Mapping[str, Any], world: int) -> None:
        """Go on under other options where a sink has ended. Raises ConfigError, and nothing has changed."""
        choose(name, options, self._build)
        cursor = self.cursors()[name]
        del self.sinks[name]
        self.add(name, options, world, cursor)

    def attach(self, sink: Sink) -> None:
        """Own a sink, and start it."""
        self.sinks[sink.name] = sink
        sink.start()

    def append(self, items: Sequence[tuple[int, Item]]) -> None:
        """Hand on items that have been journaled."""
        for offset, item in items:
            self.items.append(offset, item)
        for sink in self.sinks.values():
            sink.wake()

    def flush_soon(self) -> None:
        """Someone waits for what is in local backends: they deliver and flush at once."""
        for sink in self.sinks.values():
            if sink.local:
                sink.flush_soon()

    def moved(self, name: str, cursor: Cursor) -> None:
        """A sink has told its cursor. Its status follows a moment later, and nobody would look again then."""
        self._told[name] = cursor

    def cursors(self) -> dict[str, Cursor]:
        """How far each sink is."""
        found = {name: sink.cursor for name, sink in self.sinks.items()}
        return {name: max(cursor, self._told.get(name, cursor), key=_progress) for name, cursor in found.items()}

    def local_offset(self) -> int:
        """The last item that every local backend has, and nothing of it held back; endless when there is none."""
        local = [(cursor.offset, self.sinks[name]) for name, cursor in self.cursors().items() if self.sinks[name].local]
        return min((min(offset, sink.whole_offset) for offset, sink in local), default=sys.maxsize)

    def offset(self) -> int:
        """The last item that every backend has; endless when there is none."""
        return min((sink.offset for sink in self.sinks.values()), default=sys.maxsize)

    def statuses(self) -> dict[str, SinkStatus]:
        """How each sink is, by its backend's name."""
        return {name: sink.status() for name, sink in self.sinks.items()}

    def looks(self) -> dict[str, str]:
        """How a person looks at what each backend has."""
        return {name: sink.look for name, sink in self.sinks.items()}

    def tell_of_trouble(self) -> None:
        """Log calls of backends that take longer than they may, and what goes wrong without one, each once."""
        for sink in self.sinks.values():
            sink.tell_of_trouble()

    def clock_was_set(self) -> None:
        """What sinks wait for may be due."""
        for sink in self.sinks.values():
            sink.clock_was_set()

    def stop(self, timeout: float, *, drain: bool = True) -> list[str]:
        """Stop all sinks together, `timeout` seconds in all. Returns those that had to be left behind."""
        deadline = time.monotonic() + timeout
        for sink in self.sinks.values():
            sink.ask_stop("drain" if drain else "now")
        return [name for name, sink in self.sinks.items() if not sink.join(deadline - time.monotonic())]


def _progress(cursor: Cursor) -> tuple[int, int]:
    """What was held may go out without a new item."""
    return cursor.offset, cursor.delivered + cursor.limited + cursor.dead
