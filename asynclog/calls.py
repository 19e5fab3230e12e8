"""Calls that the writer does not take by itself: of `log()` new names, other values, no room, anything wrong; and all
that log no row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from asynclog import hosttensors
from asynclog._media.form import draw_ahead
from asynclog.notices import Notices
from asynclog.rows import Rows
from asynclog.values import Problem

if TYPE_CHECKING:
    from asynclog.knownmedia import Known


class Calls:
    """Takes them one at a time, under the lock of `rows`. Raises nothing unless `strict`."""

    def __init__(self, rows: Rows, notices: Notices, *, strict: bool) -> None:
        self.notices = notices
        self._rows = rows
        self._writer = rows.writer
        self._strict = strict
        self._held: list[tuple[Any, Any, Any, Any, float | None]] = []
        """calls from inside another call: a signal handler's, or a `__del__`'s; the next call takes them first"""

    def take(self, metrics: Any, step: Any, reduce: Any, weight: Any, now: float | None = None) -> None:
        """One call; `now` is its time, where it is another than this moment (s since the epoch)."""
        writer, rows = self._writer, self._rows
        if writer.wanted and reduce is None and now is None and self._has_made_room(metrics, step, weight):
            return
        known = None
        if rows.closed is None:
            if reduce is None and weight is None and now is None:
                known = rows.media.find(metrics)
            if known is None:
                draw_ahead(metrics)
        with writer.lock:
            if writer.busy:
                # Mappings change; values are what they were at the call.
                kept = dict(metrics) if isinstance(metrics, Mapping) else metrics
                self._held.append((kept, step, reduce, weight, now))
                writer.held = True
                return
            try:  # an exception of a signal's (Ctrl-C) may come after any call: `busy` is set within
                writer.busy = True
                if self._held:
                    self._take_held()
                self._take(metrics, step, reduce, weight, now, known)
            finally:
                writer.busy = False
        self.notices.say()

    def take_held(self) -> None:
        """Take the calls that wait, unless one is under way."""
        writer = self._writer
        with self._rows.lock:
            if not writer.busy:
                try:
                    writer.busy = True
                    self._take_held()
                finally:
                    writer.busy = False

    def append(self, records: Iterable[bytes], what: str) -> None:
        """Write records that are no rows; `what` is the call's name, for a warning."""
        writer = self._writer
        with self._rows.lock:
            if writer.busy:
                self.notices.add(what, f"{what} inside a call of log() (from a signal handler?) has no effect")
                return
            try:  # as in take
                writer.busy = True
                self._append_all(records, what)
            finally:
                writer.busy = False
        self.notices.say()

    def after_fork(self, notices: Notices) -> None:
        """In a forked child: what waited is the parent's."""
        self.notices = notices
        self._held.clear()

    def _has_made_room(self, metrics: Any, step: Any, weight: float | None) -> bool:
        """A row that only lacks room, as each wide one does, has it made and is written again: nothing looks at its
        values one by one. False, and nothing done, for any other call.
        """
        writer = self._writer
        with writer.lock:
            if writer.busy or self._held or self._rows.closed is not None:
                return False
            try:  # as in take
                writer.busy = True
                taken = self._rows.ring.reserve(writer.wanted) and writer.write(metrics, step, weight)
            finally:
                writer.busy = False
        self.notices.say()
        return taken

    def _take_held(self) -> None:
        while self._held:
            self._take(*self._held.pop(0))
        self._writer.held = False

    def _take(
        self, metrics: Any, step: Any, reduce: Any, weight: Any, now: float | None, known: Known | None = None
    ) -> None:
        rows, writer = self._rows, self._writer
        # Of all calls that are not taken at once, these are the common ones: media, and a CPU's tensors.
        try:
            if known is not None and rows.closed is None and rows.media.log_known(known, step):
                return
            if type(metrics) is dict:
                metrics = hosttensors.read(metrics)
            if reduce is None and now is None and writer.write(metrics, step, weight):
                return
            rows.log(metrics, step, reduce, weight, now)
        except Exception as error:
            if self._strict:
                raise
            text = f"log() failed, its values are dropped: {type(error).__name__}: {error}"
            rows.ring.issue(1)
            rows.tell([Problem("bad_value", type(error).__name__, text)])

    def _append_all(self, records: Iterable[bytes], what: str) -> None:
        closed = self._rows.closed
        if closed is None:
            written = [self._rows.append(record) for record in records]
            if not all(written):
                self.notices.add(what, f"{what}: the ring is full, and what was said is lost")
        elif closed != "disabled":
            self.notices.add((what, closed), f"{what} after {closed.removeprefix('after_')}() has no effect")
