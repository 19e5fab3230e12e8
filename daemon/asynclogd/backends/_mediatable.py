"""media.csv: a row for each media item, which says where its bytes are. Its length is its position."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import msgspec

from asynclogd.backends._files import AppendFile, set_aside
from asynclogd.backends._mediaref import COLUMNS, reference
from asynclogd.backends.base import StartOverError
from asynclogd.points import Media


class MediaTable:
    """The file begins with the first item; until then there is none."""

    def __init__(self, path: Path, length: int, *, fsync: bool) -> None:
        """Cut the file to `length` bytes, or with 0 put one aside that no position knows of. Raises StartOverError when
        it has less.
        """
        self._path, self._fsync = path, fsync
        self._file: AppendFile | None = None
        if length:
            there = path.stat().st_size if path.is_file() else 0
            if there < length:
                raise StartOverError(f"{path} has {there} bytes of {length}")
            self._file = AppendFile(path, length, fsync=fsync)
        elif path.is_file():
            set_aside(path)

    def append(self, item: Media) -> None:
        """Take an item; it reaches the file with `flush`, or before."""
        if self._file is None:
            self._file = AppendFile(self._path, 0, fsync=self._fsync)
            self._file.append(_row(COLUMNS))
        values = reference(item)
        values["options"] = msgspec.json.encode(values["options"]).decode()
        self._file.append(_row(values[column] for column in COLUMNS))

    def flush(self) -> int:
        """Write what was taken; the file's length. Raises OSError: flush again."""
        return self._file.flush() if self._file is not None else 0

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _row(values: object) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)  # type: ignore[arg-type]  # any iterable will do
    return text.getvalue().encode()
