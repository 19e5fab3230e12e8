"""metrics.csv as bytes: its header, its rows, and one pass that makes a new file out of an old one."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from operator import itemgetter
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from asynclogd.points import Points

END = b"\r\n"
_STEP = re.compile(r"_*step")
_CHUNK = 1 << 20


def column(name: str) -> str:
    """The column of a series: its name. `step` is the steps' own, so a series of that name gets `_step`, and so on."""
    return f"_{name}" if _STEP.fullmatch(name) else name


def header(columns: Sequence[str]) -> bytes:
    """The first line, as the csv module writes it."""
    text = io.StringIO()
    csv.writer(text).writerow(columns)
    return text.getvalue().encode()


def encode(points: Points, columns: Sequence[str], whole: AbstractSet[str] = frozenset()) -> bytes:
    """One line a step: numbers as Python's repr has them, and nothing where a series has no value.

    `columns` has all of the names' columns and `step`. Series of `whole` lose the `.0` of their integers.
    """
    rows: list[Any] = points.values.tolist()
    for at, name in enumerate(points.names):
        if name in whole:
            for row in rows:
                row[at] = int(row[at]) if row[at].is_integer() else row[at]
    size = np.abs(points.values)
    # JSON has no NaN, and spells 2e-05 and 1e+16 in another way than the csv module.
    for row, at in np.argwhere(~((size >= 1e-4) & (size < 1e16) | (size == 0.0))).tolist():
        rows[row][at] = repr(rows[row][at])
    place = {column(name): at for at, name in enumerate(points.names)}
    place["step"] = len(place)
    pick = itemgetter(*(place.get(name, len(points.names) + 1) for name in columns))
    table = [pick([*row, step, None]) for row, step in zip(rows, points.steps.tolist(), strict=True)]
    # Cells are numbers, quoted words and null, so JSON needs little to be CSV: a fifth of the csv module's time.
    text = msgspec.json.encode(table)[2:-2].replace(b"],[", END).replace(b"null", b"").replace(b'"', b"")
    return text + END


def cell(name: str, value: float, whole: AbstractSet[str]) -> str:
    """One value as `encode` writes it."""
    return repr(int(value) if name in whole and value.is_integer() else value)


def encode_cells(step: int, cells: Mapping[str, str], columns: Sequence[str]) -> bytes:
    """One line of a few cells, by column."""
    texts = {"step": str(step), **cells}
    return ",".join(texts.get(name, "") for name in columns).encode() + END


@dataclass(slots=True)
class Changes:
    """What happens to the rows that a file has, in one pass: some go, some get other values, columns come."""

    columns: list[str]
    rewind: int | None = None
    """rows of this step and later ones go"""
    revised: dict[int, dict[str, str]] = field(default_factory=dict)
    """step -> column -> cell that replaces the one there; what was found is removed from here"""

    def apply(self, old: Sequence[str], lines: Iterable[bytes]) -> Iterator[bytes]:
        """Lines (without their ends) under the columns `old` become lines under `columns`."""
        place = {name: at for at, name in enumerate(old)}
        step_at = place["step"]
        moved = list(old) != self.columns
        pick = itemgetter(*(place.get(name, len(old)) for name in self.columns))
        found: dict[int, set[str]] = {}
        for line in lines:
            cells = line.split(b",")
            step = int(cells[step_at])
            if self.rewind is not None and step >= self.rewind:
                continue
            if step in self.revised:
                self._revise(cells, place, step, found.setdefault(step, set()))
            if moved or step in self.revised:
                yield b",".join(pick([*cells, b""])) + END
            else:
                yield line + END
        for step, names in found.items():
            self.revised[step] = {k: v for k, v in self.revised[step].items() if k not in names}

    def _revise(self, cells: list[bytes], place: Mapping[str, int], step: int, found: set[str]) -> None:
        for name, text in self.revised[step].items():
            at = place.get(name)
            if at is not None and cells[at]:
                cells[at] = b"" if name in found else text.encode()
                found.add(name)


def revise_tables(tables: list[Points], revision: Points, whole: AbstractSet[str]) -> dict[int, dict[str, str]]:
    """Put a revision's values in the place of theirs in `tables`. What was not there: step -> column -> cell."""
    missing: dict[int, dict[str, str]] = {}
    for step, _, values in revision.rows():
        for name, value in zip(revision.names, values, strict=True):
            if not _revise_tables(tables, step, name, value):
                missing.setdefault(step, {})[column(name)] = cell(name, value, whole)
    return missing


def _revise_tables(tables: list[Points], step: int, name: str, value: float) -> bool:
    found = False
    for at, table in enumerate(tables):
        rows = np.flatnonzero(table.steps == step) if name in table.names else ()
        if len(rows):
            values = table.values.copy()  # other sinks read the same table
            values[rows, table.names.index(name)] = value
            tables[at] = replace(table, values=values)
            found = True
    return found


def rewind_tables(tables: Iterable[Points], step: int) -> list[Points]:
    """The tables without the rows of `step` and later ones."""
    kept = []
    for table in tables:
        rows = table.steps < step
        cut = {name: getattr(table, name)[rows] for name in ("steps", "times", "values", "ranks", "logged")}
        kept.append(replace(table, **cut, holders=None))
    return [table for table in kept if len(table)]


def read_columns(path: Path) -> tuple[list[str], int]:
    """The header of a file and where its rows begin; no columns when there is no whole header."""
    head = b""
    with path.open("rb") as file:
        for line in file:
            head += line
            if head.count(b'"') % 2 == 0 and head.endswith(END):
                return next(csv.reader(io.StringIO(head.decode(), newline=""))), len(head)
    return [], 0


def end_of_row(path: Path, start: int, rows: int) -> tuple[int, int]:
    """(byte where the first `rows` rows end, how many there are), counting whole lines only."""
    found, end, at = 0, start, start
    with path.open("rb") as file:
        file.seek(start)
        while found < rows and (chunk := file.read(_CHUNK)):
            ends = np.flatnonzero(np.frombuffer(chunk, np.uint8) == END[-1])
            wanted = ends[: rows - found]
            if len(wanted):
                end = at + int(wanted[-1]) + 1
                found += len(wanted)
            at += len(chunk)
    return end, found
