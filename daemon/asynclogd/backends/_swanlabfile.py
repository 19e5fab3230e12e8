"""A run's `run-<id>.swanlab`: records in the log format of LevelDB, written and read by the SDK's own classes.

The file grows at its end. When steps are run again, a new file without their earlier records takes the old one's place.
Late values are appended; what they replace is left out of a new file as well, at the run's end and each time that the
file has doubled since. A record has a number that counts on; the time in the first record says which file it is. A
position has both: in the same file its length is cut, in a later one records are left out whose numbers are past it.
(Those that are missing there are superseded again by what comes again.)

The end of the run is past the position: it is cut off when more comes, for SwanLab takes the first end that it finds.
"""

from __future__ import annotations

import io
import os
import struct
import time
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import DecodeError
from swanlab.exceptions import DataStoreError
from swanlab.proto.swanlab.metric.column.v1.column_pb2 import ColumnType
from swanlab.proto.swanlab.record.v1.record_pb2 import Record
from swanlab.sdk.internal.core_python.store import DataStoreReader, DataStoreWriter

from asynclogd.backends._files import AppendFile
from asynclogd.backends._swanlabrecords import finish_record, moment
from asynclogd.backends.base import Position, StartOverError
from asynclogd.points import Points

_MOST_FRAMED = 1 << 20
"""Bytes that wait for the file to be appended to."""


class RunFile:
    """The file, and what is to be appended to it."""

    def __init__(self, path: Path, *, fsync: bool) -> None:
        """Touch nothing yet: `begin` or `go_on`."""
        self._path, self._fsync = path, fsync
        self._file: AppendFile | None = None
        self._framer = _Framer(0)
        self._number = 1
        self._made = 0
        self._end: str | None = None
        self._late = False
        self._whole = 0
        self._rewinds: list[tuple[int, int]] = []

    def begin(self, first: Sequence[Any]) -> None:
        """A new file of these records."""
        self._replace(first)

    def go_on(self, position: Position) -> None:
        """Cut what is past the position. Raises StartOverError when there is less."""
        self._late, self._whole = bool(position["late"]), int(position["whole"])
        length, self._number = int(position["bytes"]), int(position["number"])
        first = next(records(self._path), None) if self._path.is_file() else None
        if first is None:
            raise StartOverError(f"{self._path} is gone or spoiled")
        self._made = first.timestamp.ToNanoseconds()
        if self._made != int(position["made"]):
            self._leave_out(lambda record: record.num >= self._number or record.HasField("finish"))
        elif (there := self._path.stat().st_size) < length:
            raise StartOverError(f"{self._path} has {there} bytes of {length}")
        else:
            self._open(length)
        if position["end"] is not None:
            self.end(str(position["end"]))
            self.flush()

    def append(self, record: Any) -> None:
        """Take a record, whose number and time are given here."""
        record.num = self._number
        record.timestamp.GetCurrentTime()
        self._take(record.SerializeToString())

    def append_points(self, points: Points, keys: Sequence[str]) -> None:
        """A record for each point; those of a revision replace what there is of their names and steps, in time."""
        self._late |= points.revision
        record = Record()
        record.timestamp.GetCurrentTime()
        scalar = record.scalar
        scalar.type = ColumnType.COLUMN_TYPE_SCALAR
        for step, at, values in points.rows():
            scalar.step = step
            scalar.timestamp.CopyFrom(moment(at))
            for key, value in zip(keys, values, strict=True):
                record.num = self._number
                scalar.key = key
                scalar.value.number = value
                self._take(record.SerializeToString())

    def rewind(self, step: int) -> None:
        """Leave out the records of that step and later ones."""
        self._rewinds.append((self._number, step))

    def end(self, status: str) -> None:
        """The run is over, until more comes."""
        self._end = status

    def flush(self) -> dict[str, Any]:
        """Write what was taken. The position. Raises OSError: flush again."""
        file = self._cut()
        file.append(self._framer.take())
        file.flush()
        if self._rewinds:
            self._leave_out(self._is_run_again)
            self._rewinds = []
        if self._late and (self._end is not None or self._number >= 2 * self._whole):
            replaced = replaced_numbers(self._path)
            self._leave_out(lambda record: record.num in replaced)
            self._late, self._whole = False, self._number
        length = self._cut().length
        if self._end is not None:
            self._write_end(self._end)
        place = {"made": self._made, "bytes": length, "number": self._number, "end": self._end}
        return {**place, "late": self._late, "whole": self._whole}

    def close(self) -> None:
        """Let go of the file; what was not flushed is lost. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _take(self, data: bytes) -> None:
        self._end = None
        self._framer.write(data)
        self._number += 1
        if self._framer.pending > _MOST_FRAMED:
            self._cut().append(self._framer.take())

    def _cut(self) -> AppendFile:
        """The file, without the end of the run, when one was written."""
        if self._file is None:
            raise RuntimeError("the backend is not open")
        if self._file.length > self._framer.start:
            self._file.close()
            self._file = AppendFile(self._path, self._framer.start, fsync=self._fsync)
        return self._file

    def _write_end(self, status: str) -> None:
        file, length = self._cut(), self._framer.start
        framer = _Framer(length)
        framer.write(finish_record(status).SerializeToString())
        file.append(framer.take())
        try:
            file.flush()
        except OSError:
            self._open(length)  # what comes next is not to stand behind it
            raise

    def _is_run_again(self, record: Any) -> bool:
        data = value_of(record)
        return data is not None and any(record.num < before and data.step >= step for before, step in self._rewinds)

    def _leave_out(self, gone: Callable[[Any], bool]) -> None:
        self._replace(record for record in records(self._path) if not gone(record))

    def _replace(self, content: Iterable[Any]) -> None:
        """Put a file of these records in the place of the one there is, with another time in its first record."""
        draft = self._path.with_name(f".{self._path.name}.draft")
        draft.unlink(missing_ok=True)
        made = max(time.time_ns(), self._made + 1)
        writer = DataStoreWriter()
        writer.open(draft)
        for at, record in enumerate(content):
            if at == 0:
                record.timestamp.FromNanoseconds(made)
            writer.write(record.SerializeToString())
        writer.close()
        if self._fsync:
            with draft.open("rb") as file:
                os.fsync(file.fileno())
        draft.replace(self._path)
        self._made = made
        self._open(self._path.stat().st_size)

    def _open(self, length: int) -> None:
        self.close()
        self._file = AppendFile(self._path, length, fsync=self._fsync)
        self._framer = _Framer(length)


class _Framer(DataStoreWriter):  # type: ignore[misc]  # the SDK is not followed
    """The SDK's writer, into memory: what it would append to a file of that length."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self._fp = io.BytesIO()
        self._index = self.start = length

    @property
    def pending(self) -> int:
        """Bytes that were not taken."""
        return int(self._index) - self.start

    def take(self) -> bytes:
        """What was written since; `start` is after it."""
        data = self._fp.getvalue()
        self._fp = io.BytesIO()
        self.start = int(self._index)
        return data


def value_of(record: Any) -> Any:
    """A series' value at a step, or None where the record is of another kind."""
    kind = record.WhichOneof("record_type")
    return getattr(record, kind) if kind in {"scalar", "media"} else None


def replaced_numbers(path: Path) -> set[int]:
    """The numbers of the values that later ones of the same series and step replace."""
    codes: dict[str, int] = {}
    found = array("q")
    for record in records(path):
        if (value := value_of(record)) is not None:
            found.extend((codes.setdefault(value.key, len(codes)), value.step, record.num))
    table = np.frombuffer(found, np.int64).reshape(-1, 3)
    table = table[np.lexsort((table[:, 2], table[:, 1], table[:, 0]))]
    again = (table[1:, :2] == table[:-1, :2]).all(axis=1)
    return set(table[:-1][again, 2].tolist())


def records(path: Path) -> Iterator[Any]:
    """What the SDK reads of a file: all up to the first record that is spoiled or not whole."""
    reader = DataStoreReader()
    try:
        reader.open(path)
        while (data := reader.scan()) is not None:  # to iterate over it would print what it meets
            record = Record()
            record.ParseFromString(data)
            yield record
    except (DataStoreError, DecodeError, AssertionError, struct.error):
        return
    finally:
        reader.close()
