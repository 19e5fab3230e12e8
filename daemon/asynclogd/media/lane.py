"""The lane of media: pending ones are encoded, stored, and handed to the journal, in the order in which they came.

It stands beside the way of the metrics and never in it: reading and encoding are worker processes' work, storing is
threads', and a few items of a run are under way at a time. What is pending is in the run's state, so that a lane has
nothing to save: after a crash it begins again with all that is pending, and what had been stored is found by digest.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass

from asynclog_proto.errors import ProtocolError
from asynclogd.entries import Cause, DeadLetter, Input
from asynclogd.incidents import about
from asynclogd.media.forms import DroppedError, UnfitError
from asynclogd.media.pending import DROPPED_PAYLOAD, Pending, encoded_payload, refused_payload
from asynclogd.media.references import check_not_by_path
from asynclogd.media.requests import request_of
from asynclogd.media.store import MediaStore
from asynclogd.media.workers import Workers

log = logging.getLogger(__name__)

UNDER_WAY = 4
"""Items of one run that are encoded or wait for a worker: other runs' have their turn between them."""

RETRY_SECONDS = 1.0

DEAD_LETTERS = "media"
"""The backend under whose name refused media are dead letters."""

LONGEST_LETTER = 1000


@dataclass(frozen=True, slots=True)
class Places:
    """Where a stream's files are, "" for none, and whether it is on another machine."""

    outbox: str
    spool: str
    afar: bool = False


PlacesOf = Callable[[int], Places]
Put = Callable[[Input, "DeadLetter | None"], None]


class Lane:
    """One run's. Called on the event loop; `places_of` tells of a stream, `put` journals what came of an item."""

    def __init__(self, name: str, workers: Workers, store: MediaStore, places_of: PlacesOf, put: Put) -> None:
        self.error = ""
        """why it does not go on, "" while it does"""
        self._name, self._workers, self._store = name, workers, store
        self._places_of, self._put = places_of, put
        self._queue: deque[Pending] = deque()
        self._under_way: deque[tuple[Pending, Future[bytes]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def offer(self, pending: Iterable[Pending]) -> None:
        """These have become pending, each is told once."""
        self._queue.extend(pending)
        if self._queue and self._task is None:
            self._task = asyncio.create_task(self._run(), name=f"media of {self._name}")

    @property
    def idle(self) -> bool:
        """Whether all that was offered has been put."""
        return not self._queue and not self._under_way

    async def drain(self, timeout: float) -> None:
        """Wait until it is, at most `timeout` seconds."""
        if self._task is not None:
            await asyncio.wait([self._task], timeout=timeout)

    async def close(self) -> None:
        """Stop. What is not put is pending when the run is opened again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        for _, future in self._under_way:
            future.cancel()  # one that runs goes on, and finds the store closed
        await asyncio.to_thread(self._store.close)

    async def _run(self) -> None:
        try:
            while not self.idle:
                while self._queue and len(self._under_way) < UNDER_WAY:
                    self._begin(self._queue.popleft())
                pending, future = self._under_way[0]
                if await self._finish(pending, future):
                    self._under_way.popleft()
                else:
                    await asyncio.sleep(RETRY_SECONDS)
                    self._under_way[0] = pending, self._submitted(pending)
        finally:
            self._task = None

    def _begin(self, pending: Pending) -> None:
        self._under_way.append((pending, self._submitted(pending)))

    def _submitted(self, pending: Pending) -> Future[bytes]:
        places = self._places_of(pending.stream)
        request = request_of(pending.record, places.outbox, places.spool)

        def work() -> bytes:
            if places.afar:
                check_not_by_path(pending.record)
            encoded = self._workers.encode(request)
            return encoded_payload(encoded.form, dict(encoded.options), self._store.append(encoded.data))

        return self._workers.submit(work)

    async def _finish(self, pending: Pending, future: Future[bytes]) -> bool:
        """Whether it is done with; else it is to be tried again."""
        letter = None
        try:
            payload = await asyncio.wrap_future(future)
        except DroppedError:
            payload = DROPPED_PAYLOAD
        except (UnfitError, ProtocolError) as error:  # the latter: options that the journal can't hold
            payload = refused_payload(str(error))
            letter = self._letter(pending, str(error))
        except Exception as error:  # no worker starts, the disk is full, a defect of ours: the item is not at fault
            if not self.error:
                told = about("media-wait", run=self._name, cause=error)
                log.error("run %s: its media wait: %s; trying again each second", self._name, error, extra=told)
            self.error = f"{type(error).__name__}: {error}"
            return False
        if self.error:
            log.warning("run %s: its media go on", self._name, extra=about("media-work", run=self._name))
        self.error = ""
        self._put(Input(Cause.MEDIA, pending.stream, pending.seq, 1, payload), letter)
        return True

    def _letter(self, pending: Pending, reason: str) -> DeadLetter:
        record = pending.record
        text = f"{record.kind} {pending.name!r} at step {record.step} of rank {pending.rank}: {reason}"
        told = about("media-refused", run=self._name, rank=pending.rank, cause=record.kind)
        log.warning("run %s: %s", self._name, text, extra=told)
        return DeadLetter(DEAD_LETTERS, pending.seq, text[:LONGEST_LETTER])
