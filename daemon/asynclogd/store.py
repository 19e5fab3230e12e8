"""A run's journal and state together: takes what came in, commits it with what comes of it. One thread's work."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Union

from asynclogd import mending
from asynclogd.entries import Cause, Commit, Cursor, DeadLetter, Input, Stream
from asynclogd.journal import Journal, JournalCorruptError
from asynclogd.media.pending import MediaStanding
from asynclogd.points import Item
from asynclogd.reducer import ReducerSettings
from asynclogd.stages import Stage
from asynclogd.standing import Standing
from asynclogd.state import Asked
from asynclogd.tally import Climb

log = logging.getLogger(__name__)

SNAPSHOT_BYTES = 32 << 20
"""Inputs between two snapshots, which is what a restart replays at most: a fraction of a second."""

SNAPSHOTS_APART = 4
"""They are so many times the bytes of the snapshot where that is more: with ten thousand names in a row it is larger
than what is read again without it, and writing it would cost more than the values do.
"""

REPLAY_BYTES = 256 << 20
"""But never more than this: some two seconds of a restart."""


Wanted = tuple[int, Union[int, None]]  # noqa: UP007 - evaluated at run time on 3.10
"""A stream, and the step up to which its values matter; None for all steps."""


@dataclass(frozen=True, slots=True)
class Interest:
    """What an outcome should tell beside what has happened."""

    open_values: tuple[Wanted, ...] = ()
    standings: tuple[Asked, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.open_values or self.standings)


@dataclass(slots=True)
class Work:
    """What the next commit takes: filled on the event loop, emptied in the store's thread."""

    inputs: list[Input] = field(default_factory=list)
    streams: dict[int, Stream] = field(default_factory=dict)
    cursors: dict[str, Cursor] = field(default_factory=dict)
    dead_letters: list[DeadLetter] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    interest: Interest = field(default_factory=Interest)

    def parted(self) -> tuple[Work, Work]:
        """What backends have done and what is known of the run, which takes next to no room; and what has come in."""
        done = replace(self, inputs=[], streams={})
        return done, Work(inputs=self.inputs, streams=self.streams)

    def __bool__(self) -> bool:
        return bool(self.inputs or self.streams or self.cursors or self.dead_letters or self.facts)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a commit did."""

    streams: dict[int, Stream]
    """the streams as they are journaled now, `next_seq` above all"""
    refused: dict[int, str]
    """streams that sent what can't be decoded, and why"""
    ended: frozenset[int]
    steps: dict[int, int]
    """the highest step of each stream that has logged"""
    climb: Climb
    items: list[tuple[int, Item]]
    journaled: int
    journal_bytes: int
    """on disk"""
    host_values: int
    dropped: dict[str, int]
    """values that were dropped after they had come in, by cause"""
    late: int
    closed_early: int
    open_values: dict[Wanted, int]
    standings: dict[Asked, Standing | None]
    next_deadline: float | None
    media: MediaStanding
    excess: str
    """the first name that was one too many, "" for none"""
    facts_dropped: int
    """params and summaries for which there was no room"""


class RunStore:
    """Owns the journal file. Every method runs in the same single thread."""

    def __init__(self, path: Path, durability: str, settings: ReducerSettings) -> None:
        self.journal = Journal.open(path, durability=durability)
        self._items = mending.Items(self.journal, settings)
        self.stages = {"reduce": Stage(), "journal": Stage()}
        """decoding and folding what a commit takes; its transaction"""
        self._replayed = 0
        try:
            self.state = mending.restored(self.journal, settings, self._inputs)
        except JournalCorruptError as error:
            self.journal.close()
            way = "the run can't go on, under another name it can; `asynclog export` and `replay` give what had closed"
            raise JournalCorruptError(f"{error}: {way}") from error
        except BaseException:
            self.journal.close()  # or who asks again finds it locked, by us
            raise
        self._since_snapshot = self._replayed
        self._snapshot_at = SNAPSHOT_BYTES
        """bytes of inputs since the last snapshot with which the next is due"""
        last = self.journal.last_input()
        self.last_now = last.now if last is not None else 0.0
        """the run's clock at its last commit"""
        self._unsaved: tuple[Commit, dict[int, str], Interest] | None = None

    def commit(self, work: Work) -> Outcome:
        """Apply `work` and journal it in one transaction. When the disk refuses, the error goes up, and `retry`
        is to be called until it succeeds: what was applied is never applied twice.
        """
        began = time.perf_counter()
        self._unsaved = self._apply(work)
        if work.inputs:
            self.stages["reduce"].add(time.perf_counter() - began)
        return self.retry()

    def retry(self) -> Outcome:
        """Save what the last `commit` applied."""
        assert self._unsaved is not None
        outcome = self._save(*self._unsaved)
        self._unsaved = None
        return outcome

    def items(self, after: int, max_bytes: int) -> list[tuple[int, Item]]:
        """Items of the run's order after an offset."""
        return self._items.read(after, max_bytes)

    def close(self) -> None:
        """Snapshot, so that the next start replays nothing, and let go of the file."""
        try:
            if self._unsaved is None and self._since_snapshot:
                self.journal.commit(Commit(snapshot=self.state.snapshot()))
        finally:
            self.journal.close()

    def _inputs(self, after: int) -> Iterator[Input]:
        for _, entry in self.journal.inputs(after):
            self._replayed += len(entry.payload)
            yield entry

    def _apply(self, work: Work) -> tuple[Commit, dict[int, str], Interest]:
        commit = Commit(cursors=work.cursors, dead_letters=work.dead_letters, facts=work.facts)
        refused: dict[int, str] = {}
        next_seqs: dict[int, int] = {}
        for entry in work.inputs:
            known = refused.get(entry.stream) if entry.cause is Cause.BATCH else None
            reason = known or self.state.apply(entry)
            if reason is not None:
                refused[entry.stream] = reason
                # Time has passed for the state all the same, and a replay must see that.
                entry = Input(Cause.TICK, now=entry.now)  # noqa: PLW2901 - see above
            elif entry.cause is Cause.BATCH:
                next_seqs[entry.stream] = entry.first_seq + entry.count
            commit.inputs.append(entry)
        commit.streams = [
            replace(stream, next_seq=next_seqs.get(stream.id, stream.next_seq)) for stream in work.streams.values()
        ]
        commit.items = self.state.drain()
        self._since_snapshot += sum(len(entry.payload) for entry in commit.inputs)
        if self._since_snapshot >= self._snapshot_at:
            commit.snapshot = self.state.snapshot()
            self._since_snapshot, self._snapshot_at = 0, _distance_after(commit.snapshot)
        return commit, refused, work.interest

    def _save(self, commit: Commit, refused: dict[int, str], interest: Interest) -> Outcome:
        began = time.perf_counter()
        offsets = self.journal.commit(commit)
        self.stages["journal"].add(time.perf_counter() - began)
        state = self.state
        return Outcome(
            streams={stream.id: stream for stream in commit.streams},
            refused=refused,
            ended=frozenset(state.ended),
            steps=dict(state.steps),
            climb=state.reducer.climb,
            items=list(zip(offsets, commit.items, strict=True)),
            journaled=state.journaled,
            journal_bytes=self.journal.size,
            host_values=state.host_values,
            dropped=state.dropped,
            late=state.reducer.late,
            closed_early=state.reducer.closed_early,
            open_values={wanted: state.open_values(*wanted) for wanted in interest.open_values},
            standings={asked: state.standing(asked) for asked in interest.standings},
            next_deadline=state.reducer.next_deadline(),
            media=state.media.standing(),
            excess=state.names.refused,
            facts_dropped=state.reducer.tally.facts_dropped,
        )


def _distance_after(snapshot: bytes) -> int:
    """Bytes of inputs that come before the next snapshot."""
    return min(max(SNAPSHOT_BYTES, SNAPSHOTS_APART * len(snapshot)), REPLAY_BYTES)
