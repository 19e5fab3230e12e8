"""A run's state as a function of its inputs: decoders, the reducer, pending media. No clock, no file, no thread.

The journal keeps the inputs. After a crash the same inputs, in the same groups, give the same state; what they
put out then is in the journal already and is dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import Any, NamedTuple

import numpy as np

from asynclog_proto import wire
from asynclog_proto.errors import ProtocolError
from asynclog_proto.records import End, Hold, Pass
from asynclogd.decode import Decoded, MediaAt, Rows, StreamDecoder
from asynclogd.entries import Cause, Input, Stream
from asynclogd.media.pending import PendingMedia
from asynclogd.names import FULL, MOST, Names
from asynclogd.points import Item, Points, RunEnd
from asynclogd.reducer import Reducer, ReducerSettings
from asynclogd.standing import Standing
from asynclogd.superseded import CAUSE

HOST_STREAM = 0
"""The daemon's own stream: host metrics, one value each, never reduced."""

MAX_STATE_BYTES = 1 << 30

PAST = b"\xa4past"
"""The payload of a LEAVE whose rank goes on, or has ended, as a later process."""

_OF_THE_RANK = (End, Hold, Pass)
"""What a stream says of its rank, and not of values."""


class Asked(NamedTuple):
    """A stream asks for a series at a step, None for the last one at which it was logged."""

    stream: int
    name: str
    step: int | None


class RunState:
    """Feeds inputs to decoders and reducer, and gathers what comes out."""

    def __init__(self, settings: ReducerSettings) -> None:
        self._settings = settings
        self.reducer = Reducer(settings)
        self.media = PendingMedia()
        self.names = Names()
        self.host_values = 0
        self.ended: set[int] = set()
        """streams that have said END"""
        self.steps: dict[int, int] = {}
        """the highest step that each stream has logged, of those that logged since this state was made"""
        self._decoders: dict[int, StreamDecoder] = {}
        self._ranks: dict[int, tuple[int, str]] = {}
        self._past: set[int] = set()
        """streams of whose rank a later process has come: they say nothing of it"""
        self._host_points: list[Item] = []
        self._media_items: list[Item] = []
        self._now: float | None = None
        """of what happened last"""
        self._end: RunEnd | None = None
        """the run's end, while media that belong before it are pending"""

    @property
    def journaled(self) -> int:
        """Logged values that have come in, host metrics included, but for what was dropped here."""
        return self.reducer.journaled + self.host_values + self.media.taken - self.media.dropped.total()

    @property
    def dropped(self) -> dict[str, int]:
        """Logged values that were dropped after they had come in, by cause."""
        return dict(self.media.dropped + Counter({FULL: self.names.dropped, CAUSE: self.reducer.superseded}))

    def apply(self, entry: Input) -> str | None:
        """Let one thing happen. Returns why a batch can't be taken, and then nothing has changed."""
        if entry.now != self._now:  # all inputs of one commit share one time
            self._now = entry.now
            due = self.reducer.next_deadline()
            if due is not None and entry.now >= due:
                self.reducer.advance(entry.now)
        if entry.cause is Cause.BATCH:
            return self._batch(entry)
        if entry.cause is Cause.JOIN:
            self._join(entry)
        elif entry.cause is Cause.LEAVE and entry.stream in self._ranks:
            self._leave(entry)
        elif entry.cause is Cause.MEDIA:
            item = self.media.finish(entry.stream, entry.first_seq, entry.payload)
            self._media_items += [item] if item is not None else []
        return None

    def drain(self) -> list[Item]:
        """What has come out since the last call, in order."""
        items = [*self._host_points, *self._media_items]
        self._host_points, self._media_items = [], []
        reduced = self.reducer.drain()
        if self._end is not None and (reduced or not self.media):
            items.append(self._end)
            self._end = None
        if reduced and isinstance(end := reduced[-1], RunEnd) and self.media:
            self._end = end
            del reduced[-1]
        return items + reduced

    def open_values(self, stream: int, up_to: int | None = None) -> int:
        """Logged values of a stream that are in no point yet, with `up_to` those of the steps up to this one."""
        rank, launch = self._ranks.get(stream, (0, None))
        media = self.media.open_values(stream, up_to)
        if launch is None or launch != self.reducer.launch:
            return media  # its generation is over, and every step of it is closed
        return media + self.reducer.open_values(rank, up_to)

    def standing(self, asked: Asked) -> Standing | None:
        """How what a stream asks for stands; None when its generation is over."""
        rank, launch = self._ranks.get(asked.stream, (0, None))
        if launch is None or launch != self.reducer.launch:
            return None
        return self.reducer.standing(rank, asked.name, asked.step)

    def snapshot(self) -> bytes:
        """All of it, for `restore`; only right after `drain`."""
        state: dict[str, Any] = {
            "reducer": self.reducer.snapshot(),
            "media": self.media.fields(),
            "names": self.names.fields(),
            "end": None if self._end is None else self._end.status,
            "host_values": self.host_values,
            "ended": sorted(self.ended),
            "past": sorted(self._past),
            "ranks": [[stream, *rank] for stream, rank in self._ranks.items()],
            "layouts": [
                [stream, number, list(names)]
                for stream, decoder in self._decoders.items()
                for number, names in decoder.layouts.items()
            ],
        }
        return wire.pack(state)

    @classmethod
    def restore(cls, settings: ReducerSettings, snapshot: bytes | None, inputs: Iterable[Input]) -> RunState:
        """The state after `inputs`, which came after `snapshot`. Raises ValueError when another version wrote that."""
        state = cls(settings)
        if snapshot is not None:
            state._load(wire.unpack(snapshot, max_bytes=MAX_STATE_BYTES))
        # One commit's inputs share one time, and what is put out depends on where a commit ends.
        for _, group in groupby(inputs, key=lambda entry: entry.now):
            for entry in group:
                state.apply(entry)
            state.drain()
        return state

    def _load(self, state: dict[str, Any]) -> None:
        self.reducer = Reducer.restore(self._settings, state["reducer"])
        if "media" in state:  # not in snapshots from before there were media
            self.media = PendingMedia.of(state["media"])
            self._end = None if state["end"] is None else RunEnd(state["end"])
        self.host_values = state["host_values"]
        self.ended = set(state["ended"])
        self._past = set(state.get("past", []))  # not in snapshots from before it was told
        self._ranks = {stream: (rank, launch) for stream, rank, launch in state["ranks"]}
        for stream, number, names in state["layouts"]:
            self._decoder(stream).layouts[number] = tuple(names)
            if "names" not in state and stream != HOST_STREAM:  # a snapshot from before they were counted
                self.names.note(names)
        if "names" in state:
            self.names = Names.read(state["names"])

    def _decoder(self, stream: int) -> StreamDecoder:
        return self._decoders.setdefault(stream, StreamDecoder())

    def _join(self, entry: Input) -> None:
        facts = wire.unpack(entry.payload)
        self._ranks[entry.stream] = (facts["rank"], facts["launch"])
        self.names.most = facts.get("max_names", MOST)
        join = self.reducer.join
        self._past.discard(entry.stream)
        if facts.get("past"):
            self._past.add(entry.stream)
            join = self.reducer.join_past
        join(facts["rank"], facts["world_size"], facts["launch"], entry.now)

    def _leave(self, entry: Input) -> None:
        rank, launch = self._ranks[entry.stream]
        if entry.payload == PAST:
            self.reducer.end_again(launch)
        else:
            self.reducer.leave(rank, launch, entry.now)

    def _batch(self, entry: Input) -> str | None:
        try:
            decoded = self._decode(entry)
        except ProtocolError as error:
            return str(error)
        if entry.stream == HOST_STREAM:
            self._host(decoded)
            return None
        rank, launch = self._ranks[entry.stream]
        ended, past = any(isinstance(said, End) for said in decoded), entry.stream in self._past
        if past:
            self.reducer.join_past(rank, rank + 1, launch, entry.now)  # or its rows would have the rank waited for
            decoded = [said for said in decoded if not isinstance(said, _OF_THE_RANK)]
        self.reducer.feed(rank, launch, self._within_names(decoded), entry.now)
        self._media(entry, decoded)
        tops = [int(rows.steps.max()) for rows in decoded if isinstance(rows, Rows)]
        self.steps[entry.stream] = max([self.steps.get(entry.stream, -1), *tops])
        if ended:
            self.ended.add(entry.stream)
        if ended and past:
            self.reducer.end_again(launch)
        return None

    def _decode(self, entry: Input) -> list[Decoded]:
        decoder = self._decoder(entry.stream)
        known = len(decoder.layouts)
        decoded = decoder.decode(entry.payload, count=entry.count)
        if entry.stream != HOST_STREAM and len(decoder.layouts) > known:
            for names in islice(decoder.layouts.values(), known, None):
                self.names.note(names)
        return decoded

    def _within_names(self, decoded: Iterable[Decoded]) -> Iterator[Decoded]:
        """What is for the reducer."""
        for said in decoded:
            kept = self.names.of(said) if isinstance(said, Rows) else said
            if kept is not None and not isinstance(kept, MediaAt):
                yield kept

    def _media(self, entry: Input, decoded: Sequence[Decoded]) -> None:
        rank, launch = self._ranks[entry.stream]
        for place, record in (said for said in decoded if isinstance(said, MediaAt)):
            seq = entry.first_seq + place
            self.media.add(
                entry.stream, seq, rank, self.reducer.generation(launch), record, named=self.names.takes(record.name)
            )

    def _host(self, decoded: Sequence[Any]) -> None:
        for rows in decoded:
            if not isinstance(rows, Rows):
                continue
            ones = np.ones(rows.values.shape, np.uint32)
            self.host_values += rows.values.size
            self._host_points.append(
                Points(rows.names, rows.steps, rows.times, rows.values, ranks=ones, logged=ones, world=1, host=True)
            )


def join_payload(stream: Stream, max_names: int = MOST, *, past: bool = False) -> bytes:
    """The payload of a JOIN: who joins, how many names the run may have from now on, and whether a later process of the
    rank had come.
    """
    facts: dict[str, Any] = {"rank": stream.rank, "world_size": stream.world_size, "launch": stream.launch}
    if max_names != MOST:
        facts["max_names"] = max_names
    return wire.pack({**facts, "past": True} if past else facts)
