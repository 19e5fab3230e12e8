"""A sink: one backend of one run on its own thread, with batching, retry, backoff, dead letters and a cursor.

A cycle reads what is new, offers it, flushes, and has the cursor journaled; the next cycle begins a flush interval
later, or at once when someone waits. What the rate limit holds goes out for who waits, and, when nothing more comes,
once its bucket is over. Whatever goes wrong ends the opening of the backend: it is closed, opened again at the last
journaled cursor, and everything after that is offered again. A backend that refuses an item for good (PermanentError)
is given the same items one by one: the one, or the rows of it that it names, becomes a dead letter, the rest goes on.
A service that is throttled (ThrottledError) is left alone for as long as it asks, and sent less at a time until it
takes that.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from dataclasses import replace
from typing import Any

from asynclogd.backends.base import Backend, PermanentError, RunInfo, ThrottledError
from asynclogd.bell import Bell, Stop
from asynclogd.delivery import CursorMoved, ItemLog, Limiter, SinkSettings, SinkStatus
from asynclogd.entries import Cursor
from asynclogd.health import Health, describe
from asynclogd.holding import Holding
from asynclogd.incidents import about
from asynclogd.inquiry import Inquiry, look
from asynclogd.opening import AnewError, Opening, status_at
from asynclogd.pace import VALUE_BYTES, Pace, Quota
from asynclogd.refusals import RefusedError
from asynclogd.spellings import Spellings
from asynclogd.stages import Stage
from asynclogd.suspects import Suspects
from asynclogd.tail import item_bytes
from asynclogd.watch import Watch

log = logging.getLogger(__name__)


class Sink:
    """Delivers a run's items to one backend. Every method may be called from any thread; only `join` and `stop`
    wait for anything.
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        run: RunInfo,
        items: ItemLog,
        limiter: Limiter,
        cursor: Cursor,
        commit: CursorMoved,
        settings: SinkSettings,
    ) -> None:
        self.name, self.local = name, backend.local
        self._backend, self._run, self._items, self._limiter = backend, run, items, limiter
        self._commit, self._settings = commit, settings
        self._title = f"{run.project}/{run.name}"
        self._health = Health(name, cursor, settings, self._title)
        self._watch = Watch(name, settings.timeout, run=self._title)
        self._bell, self._suspects = Bell(), Suspects()
        self._pace, self._quota = Pace(settings.batch_bytes), Quota(settings.points_per_second)
        self._holding = Holding(limiter, cursor, settings.quiet)
        self._visible = Stage()
        self._sent, self._next_cycle, self._retry_at = 0, 0.0, 0.0
        self._inquiry, self._look = Inquiry(name, backend, self._title), str(run.own_dir)
        self._spellings = Spellings(name, backend, self._title)
        self._thread = threading.Thread(target=self._serve, name=f"sink-{name}", daemon=True)

    # -- from outside -------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to deliver."""
        self._thread.start()

    @property
    def cursor(self) -> Cursor:
        """How far it is."""
        return self._health.status.cursor

    @property
    def offset(self) -> int:
        """The last item that is durable in the backend."""
        return self._health.status.cursor.offset

    @property
    def whole_offset(self) -> int:
        """The last item up to which the rate limit holds nothing back; endless while it holds nothing at all."""
        return self._holding.whole

    def status(self) -> SinkStatus:
        """How it is now."""
        status = self._health.status
        call, seconds = self._watch.going_on
        return replace(
            status,
            state="hanging" if self._watch.hangs else status.state,
            timeouts=self._watch.timeouts,
            trouble=self._inquiry.trouble,
            lag=max(0, self._items.last_offset - status.cursor.offset),
            call=call,
            call_seconds=seconds,
            retry_in=max(0.0, self._retry_at - time.monotonic()),
            window=int(self._pace.window) if self._pace.narrowed else 0,
        )

    @property
    def stages(self) -> dict[str, Stage]:
        """How long the backend's calls take, and `visible`: from log() of the oldest value until its flush is over."""
        found = dict(self._watch.stages)
        return {**found, "visible": self._visible}

    @property
    def look(self) -> str:
        """How a person looks at what the backend has, as it last said."""
        return self._look

    def tell_of_trouble(self) -> None:
        """Log a call that takes longer than it may, and what goes wrong without one, each once; for one thread.

        What goes wrong is in the status as soon as the backend has said it.
        """
        self._watch.tell()
        self._inquiry.ask()

    def wake(self) -> None:
        """There are new items."""
        self._bell.wake()

    def clock_was_set(self) -> None:
        """What it waits for may be due."""
        self._bell.look_again()

    def flush_soon(self) -> None:
        """Someone waits for the items that are there now: deliver and flush them at once."""
        self._bell.hurry_to(self._items.last_offset)

    def ask_stop(self, how: Stop) -> None:
        """`drain`: end when everything is delivered; `now`: when what was written is flushed; `abandon`: end
        without another word to backend or journal.
        """
        self._bell.ask(how)

    @property
    def ended(self) -> bool:
        """Whether it was started, and touches backend and journal no more."""
        return self._thread.ident is not None and not self._thread.is_alive()

    def join(self, timeout: float) -> bool:
        """Wait until the thread has ended, at most `timeout` seconds; then it is abandoned. Whether it has ended."""
        if self._thread.ident is not None:
            self._thread.join(max(0.0, timeout))
        self.ask_stop("abandon")
        return not self._thread.is_alive()

    def stop(self, *, drain: bool, timeout: float) -> bool:
        """Ask and join. A thread that hangs in its backend is left behind, its cursor where it was."""
        self.ask_stop("drain" if drain else "now")
        return self.join(timeout)

    # -- the thread ---------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        self._ask_look()
        ended = False
        while not ended:
            try:
                ended = self._serve_once()
            except BaseException as error:  # of what was to deal with another, whose attributes are an SDK's
                ended = not self._wait_to_retry(error)
        self._inquiry.end()
        self._health.closed()

    def _serve_once(self) -> bool:
        """One opening of the backend. Returns whether the sink is to end."""
        try:
            self._session()
        except RefusedError as refused:
            self._suspects.add(refused)
            told = about("dead-letter", run=self._title, backend=self.name, cause=refused.__cause__ or refused)
            log.warning(
                "%s: item %d is refused for good: %s", self.name, refused.key[0], refused.refusal.reason, extra=told
            )
        except _AgainError:
            pass
        except AnewError as error:
            self._start_over(error)
        except BaseException as error:  # whatever an SDK raises, SystemExit too: nobody else is there to go on
            return not self._wait_to_retry(error)
        else:
            return True
        return self._bell.ends_now

    def _start_over(self, error: AnewError) -> None:
        """Have it journaled that nothing counts, before the backend begins to make that true."""
        delay = self._health.starts_over(error)
        with contextlib.suppress(_AgainError):  # it ends now: the next process asks the backend again
            while self._bell.asked != "abandon" and not self._journal(Cursor(), [], surely=True):
                pass
        self._wait(delay)

    def _session(self) -> None:
        """From opening the backend to closing it. Returns when the sink has been stopped."""
        try:
            cursor = self._health.status.cursor
            opening = Opening(self.name, self._backend, self._run, self._limiter, cursor, self._watch)
            self._health.opened(self._limiter.held)
            self._ask_look()
            if opening.unsettled:
                self._settle(opening)
            while self._await_work(opening):
                self._cycle(opening)
        except BaseException:
            self._close("")
            raise
        self._close(status_at(self._items, opening.read))

    def _await_work(self, opening: Opening) -> bool:
        """Wait until a cycle is due. False: the sink has been stopped."""
        return self._bell.wait_for_items(
            lambda: self._items.last_offset,
            opening.read,
            self._next_cycle,
            patient=self._pace.narrowed or self._quota.due > time.monotonic(),
            caught_up=lambda: self._caught_up(opening),
            held=lambda: self._holding.rest(self._bell.hurry, opening.read),
        )

    def _caught_up(self, opening: Opening) -> None:
        """Everything was offered; whether it went well is only known when nothing held is to go out after it."""
        if self._holding.rest(self._bell.hurry, opening.read) > 0:
            self._health.went_well()

    def _cycle(self, opening: Opening) -> None:
        """Offer what there is, for at most a flush interval and within the pace, and settle it."""
        self._next_cycle = end = time.monotonic() + self._settings.flush_interval
        self._sent = 0
        batch = []
        try:
            while self._items.last_offset > opening.read and self._sent < self._pace.window:
                most = min(self._settings.batch_bytes, self._quota.batch_bytes, self._pace.window - self._sent)
                batch = self._items.read(opening.read, int(most))
                self._sent += sum(item_bytes(item) for _, item in batch)
                self._offer(opening, batch)
                self._next_cycle = max(end, self._quota.spend(opening.take_sent(), now := time.monotonic()))
                if self._settles_early(opening) or now >= end or self._quota.due > now:
                    break
            self._settle(opening)
            until = self._holding.until(self._bell.hurry, opening.read, self._items.last_offset)
            if until > float("-inf"):
                self._sent += VALUE_BYTES * self._limiter.held  # at most: what a 429 is to halve
                opening.release(until, self._suspects.refusals)
                self._settle(opening)
            self._health.went_well()
        except PermanentError as error:
            self._suspects.between(opening.cursor.offset, max([opening.read, *(offset for offset, _ in batch)]))
            raise _AgainError from error
        self._pace.widen(self._sent)

    def _settles_early(self, opening: Opening) -> bool:
        """Someone waits, or the backend has failed lately: what it has taken is not put at risk by more."""
        waited_for = opening.cursor.offset < self._bell.hurry <= opening.read
        return waited_for or self._bell.ends_now or bool(self._health.status.retries)

    def _offer(self, opening: Opening, batch: list[tuple[int, Any]]) -> None:
        if not batch or batch[0][0] != opening.read + 1:
            raise LookupError(f"item {opening.read + 1} can't be read")
        self._holding.came()
        self._spellings.see(item for _, item in batch)
        first = 0
        for index, (offset, item) in enumerate(batch if self._suspects else ()):
            if offset in self._suspects:
                if self._bell.ends_now:
                    return
                opening.offer(batch[first:index])
                opening.offer_singly(offset, item, self._suspects.refusals)
                self._settle(opening)
                first = index + 1
        opening.offer(batch[first:])

    def _settle(self, opening: Opening) -> None:
        """Flush, and have the cursor journaled: one step, after which nothing before it is offered again."""
        if self._bell.asked == "abandon":
            raise _AgainError
        if opening.unsettled:
            cursor, letters = opening.settle()
            if opening.oldest is not None:  # clocks differ between machines
                self._visible.add(max(0.0, time.time() - opening.oldest))
            self._holding.settling(opening.cursor.offset)
            while not self._journal(cursor, letters, surely=opening.took_back):
                pass
            opening.settled(cursor)
            self._suspects.passed(cursor.offset, may_come_again=self._health.status.started_over > 0)
            self._health.moved(cursor, self._limiter.held, len(letters), opening.take_unsupported())

    def _journal(self, cursor: Cursor, letters: list[Any], *, surely: bool) -> bool:
        """Whether it could be journaled. The backend is not at fault when not, and stays open."""
        try:
            self._commit(self.name, cursor, letters, surely)
        except Exception as error:  # the journal's disk is full, say
            if not self._wait_to_retry(error):
                raise _AgainError from error
            return False
        return True

    def _ask_look(self) -> None:
        if self._bell.asked != "abandon":
            with self._watch.during("look"):
                self._look = look(self._backend, self._run)

    def _close(self, status: str) -> None:
        if self._bell.asked == "abandon":
            return
        try:
            with self._watch.during("close"):
                self._backend.close(status)
        except BaseException as error:  # as above; what counts has been flushed
            told = about("close-failed", run=self._title, backend=self.name, cause=error)
            log.warning("%s: close: %s", self.name, describe(error), extra=told)

    def _wait_to_retry(self, error: BaseException) -> bool:
        """False: the sink is to end instead. Being asked to drain ends the wait, once."""
        if isinstance(error, ThrottledError):
            self._pace.narrow(self._sent)
        self._wait(self._health.failed(error))
        return not self._bell.ends_now

    def _wait(self, delay: float) -> None:
        self._retry_at = time.monotonic() + delay
        self._bell.wait(delay)
        self._retry_at = 0.0


class _AgainError(Exception):
    """Open the backend again, at once."""
