"""A run's `.wandb` file through its life: begun, gone on with at a position, ended, taken up again, rewound.

Bytes before a position never change, so that a position is enough to undo what came after it. Two things would change
them. A run that is taken up again loses its exit record, which is the last: a position of an ended run is that record's
beginning, and the record is written again when the file is opened there. A rewind goes to a new file, in a directory
beside the old one, which is removed when no position can name it any more.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from asynclogd.backends import _wandbrewind
from asynclogd.backends._files import replace
from asynclogd.backends._wandblog import LogFile, records
from asynclogd.backends._wandbplace import SYNC_STATE, remove, run_directories
from asynclogd.backends._wandbrecords import Counts, RunRecords
from asynclogd.backends.base import Item, Media, Points, Position, StartOverError


class End(msgspec.Struct, frozen=True, array_like=True):
    """Where the exit record begins, how many records come before it, and its code."""

    begins: int
    before: int
    code: int


class State(msgspec.Struct, frozen=True, omit_defaults=True):
    """A position."""

    directory: str
    length: int
    counts: Counts
    end: End | None = None


class RunFile:
    """One run's file, below `own_dir`. `fields` are those of its RunRecord; run_id is one."""

    def __init__(self, own_dir: Path, fields: Mapping[str, Any], *, fsync: bool) -> None:
        self._own_dir, self._fields, self._fsync = own_dir, fields, fsync
        self._records: RunRecords
        self._end: End | None = None

    @property
    def path(self) -> Path:
        """The file."""
        return self._records.log.path

    @property
    def begun(self) -> bool:
        """Whether there is a run in it."""
        return bool(self._records.counts.records)

    @property
    def ended(self) -> bool:
        """Whether its last record is the run's end."""
        return self._end is not None

    def begin(self, directory: str) -> None:
        """A new file, after what was there of the run was removed."""
        before = run_directories(self._own_dir, self._fields["run_id"])
        sent = [path.read_bytes() for each in before for path in each.glob(f"*{SYNC_STATE}")]
        remove(before)
        self._open(State(directory, 0, Counts()))
        if sent:
            replace(self.path.with_name(self.path.name + SYNC_STATE), sent[:1], fsync=self._fsync)

    def go_on(self, position: Position) -> None:
        """The file as it was at a position. Raises StartOverError when it is not there any more."""
        state = msgspec.convert(position, State)
        length = state.end.begins if state.end else state.length
        path = self._path(state.directory)
        there = path.stat().st_size if path.is_file() else 0
        if there < length:
            raise StartOverError(f"{path} has {there} bytes of {length}")
        self._open(state)
        self.remove_others()

    def records(self, item: Item) -> RunRecords:
        """What `item` is to be appended to: a run that has begun and not ended."""
        if self._end is not None:
            self._take_up_again(self._end)
        if not self.begun:
            self._records.counts.start = _time_of(item)
            self._records.begin(self._fields)
        return self._records

    def rewind(self, step: int) -> None:
        """Go on in a file without the rows of `step` and later."""
        old, counts = self._records.log, self._records.counts
        self._records.flush()
        length = old.flush()
        old.close()
        last = _wandbrewind.Last()
        log = LogFile(_wandbrewind.beside(old.path.parent) / old.path.name, 0, fsync=self._fsync)
        for record in _wandbrewind.without(records(old.path, length), step, last):
            log.append(record)
        self._records = RunRecords(log, counts, last.values)

    def end(self, code: int) -> None:
        """The run ends."""
        self._records.flush()
        self._end = End(self._records.log.end, self._records.counts.records, code)
        self._records.exit(code)

    def flush(self) -> dict[str, Any]:
        """Append everything to the file; the position. Raises OSError."""
        if self._end is None:
            self._records.flush()
        length = self._records.log.flush()
        found: dict[str, Any] = msgspec.to_builtins(
            State(self.path.parent.name, length, self._records.counts, self._end)
        )
        return found

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self._records.log.close()

    def remove_others(self) -> None:
        """No position but one of before the last rewind names the run's other directories, and the sink has had one of
        after it journaled before anything else.
        """
        others = [each for each in run_directories(self._own_dir, self._fields["run_id"]) if each != self.path.parent]
        remove(others)

    def _open(self, state: State) -> None:
        path = self._path(state.directory)
        path.parent.mkdir(parents=True, exist_ok=True)
        self._end = None
        length = state.end.begins if state.end else state.length
        counts = state.counts
        self._records = RunRecords(LogFile(path, length, fsync=self._fsync), counts)
        if state.end:
            counts.records = state.end.before
            self.end(state.end.code)

    def _take_up_again(self, end: End) -> None:
        counts, log = self._records.counts, self._records.log
        log.flush()
        log.close()
        counts.records, self._end = end.before, None
        self._records = RunRecords(LogFile(log.path, end.begins, fsync=self._fsync), counts)

    def _path(self, directory: str) -> Path:
        return self._own_dir / directory / f"run-{self._fields['run_id']}.wandb"


def _time_of(item: Item) -> float:
    """When a run began whose first item this is, in s since the epoch."""
    if isinstance(item, Media):
        return item.time
    return float(item.times[0]) if isinstance(item, Points) and len(item.times) else time.time()
