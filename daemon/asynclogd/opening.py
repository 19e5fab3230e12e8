"""One opening of a backend: from its cursor on, items are offered, and settled into the next cursor.

Nothing here retries or waits: whatever a backend raises goes up, the opening is over, and the sink begins another
one at the last cursor. That undoes what was half done, because a cursor has offset, position and the limiter's
state together, and `Backend.open` undoes what is past the position.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Sequence

from asynclog_proto.errors import ProtocolError
from asynclogd.backends.base import (
    Backend,
    Kind,
    Media,
    Params,
    PermanentError,
    Points,
    Rewind,
    RunEnd,
    RunInfo,
    StartOverError,
    Summary,
)
from asynclogd.delivery import BrokenError, ItemLog, Limiter
from asynclogd.entries import Cursor, DeadLetter
from asynclogd.health import words
from asynclogd.incidents import about
from asynclogd.points import Item, Lost, logged, of_showable_times
from asynclogd.positions import as_journaled
from asynclogd.refusals import Refusal, Refusals, RefusedError, apart
from asynclogd.watch import Watch

log = logging.getLogger(__name__)

_RELEASED = 1 << 32
"""The number of the first part that comes of no item: more than any item has parts."""


_KINDS: dict[type[Item], Kind] = {
    Points: "points",
    Media: "media",
    Params: "params",
    Summary: "summary",
    Rewind: "rewind",
    RunEnd: "end",
}


class AnewError(Exception):
    """The backend can't go on from its cursor: it is to begin once more, with none."""


class Opening:
    """A backend that is open, and what it has been given since `cursor`."""

    def __init__(
        self, name: str, backend: Backend, run: RunInfo, limiter: Limiter, cursor: Cursor, watch: Watch
    ) -> None:
        """Open the backend. Raises BrokenError for its PermanentError and for a missing SDK, AnewError for its
        StartOverError, or what else it raises.
        """
        self.cursor = cursor
        self.read = cursor.offset
        """the offset of the last item that was offered"""
        self.oldest: float | None = None
        """when the first value was logged that was offered and is not settled, s since the epoch"""
        self.took_back = True
        """whether something was taken back that counts at an earlier position: by what was written, or before a crash,
        by what is offered again; then the next cursor is to be journaled before more is written"""
        self._name, self._backend, self._limiter, self._watch = name, backend, limiter, watch
        run.own_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
        limiter.restore(cursor.limiter)
        with watch.during("open"):
            _open(backend, run, cursor)
        self._unflushed = cursor.position is None  # what `open` itself has made has a position too
        self._position = cursor.position
        self._letters: list[DeadLetter] = []
        self._delivered = self._points = self._dead = self._left_out = 0
        self._limited_before = self._unsupported = self._sent = 0
        self._released = False

    @property
    def unsettled(self) -> bool:
        """Whether there is anything to settle."""
        return self._unflushed or self._released or self.read > self.cursor.offset

    def offer(self, batch: Sequence[tuple[int, Item]]) -> None:
        """Offer items, all in one write."""
        if not batch:
            return
        self._write([part for offset, item in batch for part in self._shape(offset, item)])
        self.read = batch[-1][0]
        if self.oldest is None:
            self.oldest = next((float(item.times[0]) for _, item in batch if isinstance(item, Points)), None)

    def offer_singly(self, offset: int, item: Item, refusals: Refusals) -> None:
        """Offer one item, what comes of it part by part and each one flushed, but those that were refused.

        Raises RefusedError when one more is.
        """
        for number, part in enumerate(self._shape(offset, item)):
            self._offer_part(offset, number, part, refusals)
        self.read = offset

    def release(self, until: float, refusals: Refusals) -> None:
        """Offer what the rate limit holds that is due at `until`, as if it came of the last item: part by part, but
        those that were refused. All before it has to be settled. Raises RefusedError.
        """
        held = self._limiter.flush(until)
        self._released = self._released or bool(held)
        for number, part in enumerate(filter(self._supports, held), start=_RELEASED):
            self._offer_part(self.read, number, part, refusals)

    def _offer_part(self, offset: int, number: int, part: Item, refusals: Refusals) -> None:
        left: Item | None = part
        for refusal in refusals.get((offset, number), ()):
            if left is not None:
                left = self._bury(offset, left, refusal)
        if left is None:
            return
        try:
            self._write([left])
            self._flush()
        except PermanentError as error:
            raise RefusedError(offset, number, words(error) or type(error).__name__, error.rows) from error

    def settle(self) -> tuple[Cursor, list[DeadLetter]]:
        """Flush. Returns the cursor after all that was offered, and the dead letters on the way there. Raises
        BrokenError for a position that can't be journaled.

        When both are journaled, `settled` is to be called.
        """
        if self._unflushed:
            self._flush()
        start, limiter = self.cursor, self._limiter
        cursor = Cursor(
            offset=self.read,
            position=self._position,
            limiter=limiter.state(),
            delivered=start.delivered + self._delivered,
            limited=start.limited + self._left_out + limiter.limited - self._limited_before,
            dead=start.dead + self._dead,
            points=start.points + self._points,
        )
        return cursor, list(self._letters)

    def settled(self, cursor: Cursor) -> None:
        """`cursor` is journaled: count from it on."""
        self.cursor, self._released, self.oldest = cursor, False, None
        self.took_back = False
        self._letters.clear()
        self._delivered = self._points = self._dead = self._left_out = 0
        self._limited_before = self._limiter.limited

    def take_unsupported(self) -> int:
        """How many parts were of kinds that the backend does not show, since this was asked last."""
        count, self._unsupported = self._unsupported, 0
        return count

    def take_sent(self) -> int:
        """How many points were written, since this was asked last."""
        count, self._sent = self._sent, 0
        return count

    def _shape(self, offset: int, item: Item) -> list[Item]:
        """What the backend is to be given for an item."""
        if isinstance(item, Lost):
            self._bury(offset, item, Refusal(item.reason))
            return []
        item = of_showable_times(item)
        shaped: list[Item]
        if isinstance(item, Points):
            shaped = [*self._limiter.shape(item)]
        elif isinstance(item, (Rewind, RunEnd)):
            shaped = [*self._limiter.flush(), item]
        elif isinstance(item, Media) and not self._limiter.shows(item):
            self._left_out += logged(item)
            return []
        else:
            shaped = [item]
        return [part for part in shaped if self._supports(part)]

    def _supports(self, part: Item) -> bool:
        if _KINDS[type(part)] in self._backend.kinds:
            return True
        self._unsupported += 1
        self._left_out += logged(part)
        return False

    def _write(self, parts: list[Item]) -> None:
        if not parts:
            return
        self._unflushed = True
        self.took_back = self.took_back or any(map(_takes_back, parts))
        try:
            with self._watch.during("write"):
                self._backend.write(parts)
        except ProtocolError as error:  # a blob of the media store is spoiled, and stays so
            raise PermanentError(str(error)) from error
        for part in parts:
            self._delivered += logged(part)
            points = len(part) if isinstance(part, Points) else 0
            self._points += points
            self._sent += points

    def _flush(self) -> None:
        with self._watch.during("flush"):
            position = self._backend.flush()
        self._position = as_journaled(position)
        self._unflushed = False

    def _bury(self, offset: int, part: Item, refusal: Refusal) -> Item | None:
        """Give up what is refused. Returns what is left to be written."""
        refused, left = apart(part, refusal.rows)
        self._letters.append(DeadLetter(self._name, offset, refusal.reason))
        self._dead += logged(refused)
        return left


def _open(backend: Backend, run: RunInfo, cursor: Cursor) -> None:
    if backend.requires is not None:
        _look_for(*backend.requires)
    try:
        backend.open(run, cursor.position)
    except PermanentError as error:
        raise BrokenError(words(error)) from error
    except StartOverError as error:
        if cursor.position is None:
            raise BrokenError(f"it can't go on from the beginning either: {words(error)}") from error
        raise AnewError(words(error)) from error


def _look_for(module: str, extra: str) -> None:
    importlib.invalidate_caches()  # it may have been installed since this process looked last
    if importlib.util.find_spec(module) is None:
        raise BrokenError(f'{module} is not installed where the daemon runs: pip install "asynclogd[{extra}]"')


def _takes_back(part: Item) -> bool:
    return isinstance(part, Rewind) or (isinstance(part, Points) and part.revision)


def status_at(items: ItemLog, offset: int) -> str:
    """The run's status when its end is the item at an offset, "" else."""
    if offset == 0:
        return ""
    try:
        (_, item), *_ = items.read(offset - 1, 1)
    except Exception as error:  # the journal can't be read; then the backend is closed without it
        log.warning("item %d can't be read: %s", offset, error, extra=about("item-unreadable", cause=error))
        return ""
    return item.status if isinstance(item, RunEnd) else ""
