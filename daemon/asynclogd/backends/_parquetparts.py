"""A table in files: `part-<number of its first row>.parquet`, each written whole and put in its place by rename.

A flush adds a part. When eight of the last ones are of about one size they are made one, so that a row is written
again a few times in all and a run of a billion rows has a few dozen small parts beside its large ones. A part of a
million rows is left alone, unless a row in it is superseded.

Parts are made one by putting the whole in the place of the first and removing the others. A crash between leaves rows
that are in two files; the next opening removes the files whose rows are in the one before them.
"""

from __future__ import annotations

import logging
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from asynclogd.backends._files import TakenOut, replace
from asynclogd.backends._parquetrows import Drops, media_row, point_rows, whole_numbers
from asynclogd.backends.base import StartOverError
from asynclogd.points import Media, Points

log = logging.getLogger(__name__)

LARGEST = 1 << 20
"""Rows of a part; one flush may have more."""

FAN_IN = 8
ROW_GROUP = 1 << 17
"""Rows that a reader takes or skips together, and that DuckDB gives to one thread."""


@dataclass(frozen=True, slots=True)
class Part:
    """A file. Its rows' numbers are from `start` to before `end`, its steps from `first_step` to `last_step`."""

    path: Path
    start: int
    end: int
    rows: int
    first_step: int
    last_step: int


class Parts:
    """The table, which grows at its end; superseded rows are taken out where they are."""

    def __init__(self, directory: Path, rows: int | None, kept: int | None = None, *, fsync: bool) -> None:
        """Go on at the row of that number, or None: with nothing; what there is, is set aside then. Raises
        StartOverError for a spoiled part, as a loss of power may leave one, and for fewer than `kept` rows.
        """
        self._directory, self._fsync = directory, fsync
        self._pending: list[Any] = []
        self._drops = Drops()
        self._rows = rows or 0
        self._parts: list[Part] = []
        self._taken_out = TakenOut(directory.with_name(f".{directory.name}.taken-out"))
        if rows is None:
            _set_aside(directory)
            self._taken_out.clear()
        else:
            self._recover()
            if not self._taken_out.explains(self.kept, kept):
                raise StartOverError(f"{directory} has {self.kept} rows of {kept}")
        self._written = self._rows

    @property
    def kept(self) -> int:
        """How many rows the files have."""
        return sum(part.rows for part in self._parts)

    def append_points(self, points: Points) -> None:
        """Take points; those of a revision replace what there is of their names and steps."""
        if points.revision:
            self._drops.revise(points, self._rows)
        self._append(point_rows(points, self._rows))

    def append_media(self, item: Media) -> None:
        """Take a reference."""
        self._append(media_row(item, self._rows))

    def rewind(self, step: int) -> None:
        """Take out the rows of that step and later ones."""
        self._drops.rewinds.append((self._rows, step))

    def flush(self) -> int:
        """Write what was taken. How many rows there have been. Raises OSError and keeps them: flush again."""
        if self._drops:
            self._drop()
        self._write_pending()
        self._drops = Drops()
        while count := due([part.rows for part in self._parts]):
            self._join(len(self._parts) - count, count)
        self._taken_out.flushed()
        return self._rows

    def compact(self) -> None:
        """Make as few parts as there can be. Raises OSError; nothing is lost then."""
        at = 0
        while at < len(self._parts):
            count, rows = 0, 0
            for part in self._parts[at:]:
                rows += part.rows
                if count and rows > LARGEST:
                    break
                count += 1
            if count > 1:
                self._join(at, count)
            at += 1

    def _append(self, table: Any) -> None:
        self._pending.append(table)
        self._rows += len(table)
        if self._rows - self._written >= LARGEST:
            self._write_pending()

    def _write_pending(self) -> None:
        if self._pending:
            table = self._drops.kept(pa.concat_tables(self._pending))
            if len(table):
                self._directory.mkdir(exist_ok=True)
                self._parts.append(self._write(self._directory / f"part-{self._written:015d}.parquet", table))
            self._pending, self._written = [], self._rows

    def _drop(self) -> None:
        for part in list(self._parts):
            if self._drops.touch(part.first_step, part.last_step):
                table = _table(part.path)
                kept = self._drops.kept(table)
                if len(kept) < len(table):
                    self._taken_out.note()
                    self._put(part, table, kept)

    def _put(self, part: Part, table: Any, kept: Any) -> None:
        """Leave a part what is kept of its table, and remove one of which nothing is."""
        at = self._parts.index(part)
        if not len(kept):
            part.path.unlink()
            del self._parts[at]
        elif len(kept) < len(table):
            self._parts[at] = self._write(part.path, kept)

    def _join(self, at: int, count: int) -> None:
        parts = self._parts[at : at + count]
        whole = self._write(parts[0].path, pa.concat_tables([_table(part.path) for part in parts]))
        for part in parts[1:]:
            part.path.unlink()
        self._parts[at : at + count] = [whole]

    def _write(self, path: Path, table: Any) -> Part:
        buffer = pa.BufferOutputStream()
        pq.write_table(
            table.unify_dictionaries(),
            buffer,
            row_group_size=ROW_GROUP,
            compression="zstd",
            use_dictionary=[name for name in table.column_names if name not in _PLAIN],
            column_encoding=dict.fromkeys(_PLAIN & {*table.column_names} - {"value"}, "DELTA_BINARY_PACKED"),
        )
        replace(path, [buffer.getvalue()], fsync=self._fsync)
        steps, last = whole_numbers(table["step"]), int(whole_numbers(table["row"])[-1])
        return Part(path, _start(path), last + 1, len(table), int(steps.min()), int(steps.max()))

    def _recover(self) -> None:
        """Remove what a crash left: drafts, parts that were made one with others, rows past the position."""
        for draft in self._directory.glob(".*.draft"):
            draft.unlink()
        for path in sorted(self._directory.glob("part-*.parquet")):
            part = _read(path)
            covered = self._parts[-1].end if self._parts else 0
            if part.start < covered or part.start >= self._rows:
                path.unlink()
                continue
            self._parts.append(part)
            if part.end > self._rows:
                table = _table(path)
                self._put(part, table, table.slice(0, int((whole_numbers(table["row"]) < self._rows).sum())))


_PLAIN = frozenset({"step", "time", "value", "row", "offset"})
"""Columns in which few values come twice: a dictionary would only cost."""


def due(rows: Sequence[int]) -> int:
    """How many of the last parts, of so many rows each, are to be made one: eight of a size, or fewer that fill a
    whole part; 0 for none.
    """
    count, total = 0, 0
    for size in reversed(rows):
        if size >= LARGEST or _magnitude(size) > _magnitude(rows[-1]):
            break
        if total + size > LARGEST:
            return count if count > 1 else 0
        count, total = count + 1, total + size
    return count if count >= FAN_IN else 0


def _magnitude(rows: int) -> int:
    return (rows.bit_length() - 1) // (FAN_IN.bit_length() - 1)


def _set_aside(directory: Path) -> None:
    """Rename what the journal knows nothing of, so that no reader takes it for the run's."""
    if directory.is_dir():
        aside = directory.with_name(f"set-aside.{directory.name}")
        shutil.rmtree(aside, ignore_errors=True)
        directory.rename(aside)
        log.info("%s was not committed; its rows come again (kept as %s)", directory, aside)


def _read(path: Path) -> Part:
    try:
        return _described(path, pq.read_metadata(path))
    except pa.ArrowInvalid as error:
        raise StartOverError(f"{path} is spoiled: {error}") from error


def _table(path: Path) -> Any:
    with pq.ParquetFile(path) as file:  # read_table looks for directories and schemas first
        return file.read()


def _start(path: Path) -> int:
    return int(path.stem.removeprefix("part-"))


def _described(path: Path, about: Any) -> Part:
    groups = [about.row_group(at) for at in range(about.num_row_groups)]
    names = about.schema.names
    numbers, steps = ([group.column(names.index(name)).statistics for group in groups] for name in ("row", "step"))
    return Part(
        path=path,
        start=_start(path),
        end=max(each.max for each in numbers) + 1,
        first_step=min(each.min for each in steps),
        last_step=max(each.max for each in steps),
        rows=about.num_rows,
    )
