"""Media that have come in and are not encoded yet: part of a run's state, and so a function of its inputs alone.

A MEDIA record becomes pending with its batch. What the encoders make of it comes back as one more input (Cause.MEDIA)
which takes it out: as an item for the backends, or as a loss that is counted. Pending media are bounded; what comes
beyond the bounds is dropped at once and counted.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass
from typing import Any

from asynclog_proto import records, wire
from asynclog_proto.media import Place
from asynclog_proto.records import Record
from asynclogd import names
from asynclogd.points import Blob, Media

FULL = "media_full"
"""The cause of media for which there was no room, here or at their rank."""

REFUSED = "media_refused"
"""The cause of media that can't be encoded; each one is a dead letter that says why."""

MOST_PENDING = 100_000
MOST_PENDING_BYTES = 64 << 20
"""Of the records; bodies that are not in them lie in files of the rank's."""

MOST_REASONS = 16
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Pending:
    """One record that waits for its encoding. `seq` is its number in its stream, `size` its bytes packed."""

    stream: int
    seq: int
    rank: int
    generation: int
    record: records.Media
    size: int

    @property
    def body_bytes(self) -> int:
        """Bytes of what is to be encoded."""
        body = self.record.body
        return body.size if isinstance(body, Place) else len(body)

    @property
    def name(self) -> str:
        """The name that backends see."""
        return self.record.name if self.rank == 0 else f"{self.record.name}/rank{self.rank}"


@dataclass(frozen=True, slots=True)
class MediaStanding:
    """How a run's media are after a commit. `fresh` are those that became pending since the last one, `freed` tells
    for streams of which that has changed up to where their outboxes are not needed.
    """

    fresh: tuple[Pending, ...] = ()
    freed: tuple[tuple[int, int], ...] = ()
    spent: tuple[tuple[int, int], ...] = ()
    """the same for the files of their spools: those of lower numbers are not needed"""
    streams: frozenset[int] = frozenset()
    """streams that have media pending"""
    pending: int = 0
    body_bytes: int = 0
    taken: int = 0
    dropped: tuple[tuple[str, int], ...] = ()
    reasons: tuple[tuple[str, int], ...] = ()
    """why media were refused, and how many"""


class PendingMedia:
    """What is pending in each stream, and counts."""

    def __init__(self) -> None:
        self.taken = 0
        """media that have come in; each is one logged value"""
        self.dropped: Counter[str] = Counter()
        self.reasons: Counter[str] = Counter()
        self._open: dict[int, dict[int, Pending]] = {}
        self._count = self._bytes = self._body_bytes = 0
        self._fresh: dict[tuple[int, int], Pending] = {}
        self._places: dict[int, list[tuple[int, int]]] = {}
        """heaps of (position in the outbox, seq); of those that are not pending any more too"""
        self._highest: dict[int, int] = {}
        """up to where each stream's outbox has ever been used"""
        self._files: dict[int, Counter[int]] = {}
        """how many of a stream are pending in each file of its spool, its newest file always among them"""
        self._moved: set[int] = set()

    def __len__(self) -> int:
        return self._count

    def add(
        self, stream: int, seq: int, rank: int, generation: int, record: records.Media, *, named: bool = True
    ) -> None:
        """A record has come in; not `named` when its name was one too many."""
        self.taken += 1
        pending = Pending(stream, seq, rank, generation, record, len(records.encode(record)))
        if isinstance(record.body, Place):
            self._note(stream, record.body)
        if not named:
            self.dropped[names.FULL] += 1
        elif self._count >= MOST_PENDING or self._bytes + pending.size > MOST_PENDING_BYTES:
            self.dropped[FULL] += 1
        else:
            self._put(pending)

    def finish(self, stream: int, seq: int, payload: bytes) -> Media | None:
        """The encoders are done with one; what goes to the backends, if anything. Another time it is nothing."""
        pending = self._open.get(stream, {}).pop(seq, None)
        if pending is None:
            return None
        if not self._open[stream]:
            del self._open[stream]
        self._fresh.pop((stream, seq), None)
        self._count -= 1
        self._bytes -= pending.size
        self._body_bytes -= pending.body_bytes
        self._moved.add(stream)
        if isinstance(body := pending.record.body, Place) and body.file:
            self._files[stream][body.file] -= 1
        fields = wire.unpack(payload)
        if not fields:
            self.dropped[FULL] += 1
            return None
        if len(fields) == 1:
            self._refuse(fields[0])
            return None
        form, options, *blob = fields
        record = pending.record
        return Media(
            name=pending.name,
            step=record.step,
            time=record.time,
            kind=record.kind,
            form=form,
            options={**record.options, **options},
            blob=Blob(*blob),
            rank=pending.rank,
            generation=pending.generation,
        )

    def open_values(self, stream: int, up_to: int | None) -> int:
        """How many of a stream are pending, with `up_to` of steps up to this one."""
        pending = self._open.get(stream, {})
        return len(pending) if up_to is None else sum(each.record.step <= up_to for each in pending.values())

    def standing(self) -> MediaStanding:
        """How it is now; the next one tells what is new since this one."""
        fresh, self._fresh = tuple(self._fresh.values()), {}
        freed = tuple((stream, self._freed(stream)) for stream in sorted(self._moved) if stream in self._highest)
        spent = tuple((stream, self._spent(stream)) for stream in sorted(self._moved) if stream in self._files)
        self._moved.clear()
        return MediaStanding(
            fresh=fresh,
            freed=freed,
            spent=spent,
            streams=frozenset(self._open),
            pending=self._count,
            body_bytes=self._body_bytes,
            taken=self.taken,
            dropped=tuple(self.dropped.items()),
            reasons=tuple(self.reasons.items()),
        )

    def fields(self) -> list[Any]:
        """All of it as plain values, for `of`."""
        pending = [
            [each.stream, each.seq, each.rank, each.generation, records.encode(each.record)]
            for stream in self._open.values()
            for each in stream.values()
        ]
        highest = [[stream, end] for stream, end in self._highest.items()]
        newest = [[stream, max(files)] for stream, files in self._files.items()]
        return [self.taken, dict(self.dropped), list(map(list, self.reasons.items())), highest, newest, pending]

    @classmethod
    def of(cls, fields: list[Any]) -> PendingMedia:
        """What `fields` was called on; all of it counts as fresh."""
        media = cls()
        media.taken, dropped, reasons, highest, newest, pending = fields
        media.dropped, media.reasons = Counter(dropped), Counter(dict(reasons))
        media._highest = dict(highest)
        media._files = {stream: Counter({file: 0}) for stream, file in newest}
        media._moved = {*media._highest, *media._files}
        for stream, seq, rank, generation, packed in pending:
            media._put(Pending(stream, seq, rank, generation, _media(records.decode(packed)), len(packed)))
        return media

    def _put(self, pending: Pending) -> None:
        stream, seq, body = pending.stream, pending.seq, pending.record.body
        self._open.setdefault(stream, {})[seq] = self._fresh[stream, seq] = pending
        self._count += 1
        self._bytes += pending.size
        self._body_bytes += pending.body_bytes
        if isinstance(body, Place) and body.file:
            self._files[stream][body.file] += 1
        elif isinstance(body, Place):
            heapq.heappush(self._places.setdefault(stream, []), (body.offset, seq))

    def _note(self, stream: int, place: Place) -> None:
        """The rank has come so far in its outbox or its spool. Files are begun in the order of the records."""
        self._moved.add(stream)
        if place.file:
            self._files.setdefault(stream, Counter())[place.file] += 0
        else:
            self._highest[stream] = max(self._highest.get(stream, 0), place.offset + place.size)

    def _refuse(self, reason: str) -> None:
        self.dropped[REFUSED] += 1
        known = reason in self.reasons or len(self.reasons) < MOST_REASONS
        self.reasons[reason if known else "other reasons"] += 1

    def _freed(self, stream: int) -> int:
        """Nothing of the outbox before this position is needed."""
        places, pending = self._places.get(stream, []), self._open.get(stream, {})
        while places and places[0][1] not in pending:
            heapq.heappop(places)
        return places[0][0] if places else self._highest[stream]

    def _spent(self, stream: int) -> int:
        """No file of the spool with a lower number than this is needed. The newest may be, for what is to come."""
        files = self._files[stream]
        newest = max(files)
        for file in [file for file, count in files.items() if not count and file != newest]:
            del files[file]
        return min(files)


def encoded_payload(form: str, options: dict[str, Any], blob: Blob) -> bytes:
    """The payload of a MEDIA input: what one was encoded to."""
    return wire.pack([form, options, blob.digest, blob.segment, blob.offset, blob.size])


DROPPED_PAYLOAD = wire.pack([])
"""The payload of a MEDIA input: its rank had no room and dropped it."""


def refused_payload(reason: str) -> bytes:
    """The payload of a MEDIA input: why one can't be encoded."""
    return wire.pack([reason[:LONGEST_REASON]])


def _media(record: Record) -> records.Media:
    assert isinstance(record, records.Media)
    return record
