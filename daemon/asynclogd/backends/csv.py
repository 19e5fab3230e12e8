"""CSV in the layout of Lightning's CSVLogger: metrics.csv (sorted header, a row a step row) and hparams.yaml. Images
and the like are rows of media.csv, in the order in which they came, superseded ones too: which bytes of which file.

Rows are appended. The file is replaced whole, by rename at flush, when a series is new (the header grows), when late
values replace others, and when the run is rewound (the rows of superseded steps go).

The position is a number of rows and a version, and media.csv's length. What a crash left beyond it is cut off at
`open`; a rewind cannot be cut off, so it begins a new version and keeps the one before beside it, to go back to.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from asynclogd.backends._csvfile import (
    END,
    Changes,
    column,
    encode,
    encode_cells,
    end_of_row,
    header,
    read_columns,
    revise_tables,
    rewind_tables,
)
from asynclogd.backends._files import AppendFile, replace, set_aside
from asynclogd.backends._join import joined
from asynclogd.backends._mediatable import MediaTable
from asynclogd.backends._yaml import MergedYaml
from asynclogd.backends.base import (
    Backend,
    BackendConfig,
    Item,
    Media,
    Params,
    Points,
    Position,
    Rewind,
    RunInfo,
    StartOverError,
    Summary,
)

__all__ = ["CsvBackend", "CsvConfig"]

log = logging.getLogger(__name__)

_BACKUPS = 2
"""Versions kept to go back to: a flush that was not committed may be followed by one more."""


class CsvConfig(BackendConfig, frozen=True):
    """`fsync`: a flush survives power loss too, not only the end of this process. `hparams`: whether params and final
    values are written (false where whoever logs writes an hparams.yaml of its own). `whole`: series whose values are
    integers, and are written without `.0` where they are.
    """

    fsync: bool = False
    hparams: bool = True
    whole: tuple[str, ...] = ()


class CsvBackend(Backend):
    """Points in metrics.csv, params in hparams.yaml, final values in summary.yaml, references to media in media.csv."""

    kinds = frozenset({"points", "media", "params", "summary", "rewind"})
    Config = CsvConfig
    config: CsvConfig

    def __init__(self, config: CsvConfig) -> None:
        super().__init__(config)
        self._path = Path()
        self._file: AppendFile | None = None
        self._columns: list[str] = []
        self._rows = 0
        self._version = 0
        self._whole = frozenset(config.whole)
        self._tables: list[Points] = []
        self._changes = Changes([])
        self._yaml: dict[type[Item], MergedYaml] = {}
        self._media = MediaTable(Path(), 0, fsync=config.fsync)

    def open(self, run: RunInfo, position: Position | None) -> None:
        """Cut metrics.csv to the position, or put one that no position knows of aside. Raises StartOverError where it
        or media.csv has lost rows.
        """
        self._path = run.own_dir / "metrics.csv"
        self._tables = []
        if self.config.hparams:
            kinds: dict[type[Item], str] = {Params: "hparams.yaml", Summary: "summary.yaml"}
            fresh = position is None
            self._yaml = {kind: MergedYaml(run.own_dir / file, fresh=fresh) for kind, file in kinds.items()}
        self._version = int(position["version"]) if position is not None else 0
        self._go_back()
        if position is None and (aside := set_aside(self._path)):
            log.info("%s was not committed; its points come again (kept as %s)", self._path, aside)
        self._read(int(position["rows"]) if position is not None else 0)
        self._changes = Changes(list(self._columns))
        self._media.close()
        bytes_of_media = int(position.get("media", 0)) if position is not None else 0
        self._media = MediaTable(run.own_dir / "media.csv", bytes_of_media, fsync=self.config.fsync)

    def write(self, batch: Sequence[Item]) -> None:
        """Take items; the file is not touched yet."""
        for item in joined(batch):
            if isinstance(item, Points):
                self._points(item)
            elif isinstance(item, Media):
                self._media.append(item)
            elif isinstance(item, (Params, Summary)):
                if (file := self._yaml.get(type(item))) is not None:
                    file.update(item.values)
            elif isinstance(item, Rewind):
                self._rewind(item.step)

    def flush(self) -> Position:
        """Append the rows, or replace the file when more than rows has changed. Raises OSError: flush again."""
        changes = self._changes
        if changes.columns != self._columns or changes.rewind is not None or changes.revised:
            self._replace_file()
        elif self._tables:
            self._append_rows()
        if self._file is not None:
            self._file.flush()
        for file in self._yaml.values():
            file.save(fsync=self.config.fsync)
        return {"rows": self._rows, "version": self._version, "media": self._media.flush()}

    def close(self, status: str) -> None:
        """Let go of the files."""
        del status
        self._let_go()
        self._media.close()

    def spelt(self, name: str) -> str:
        """The column of a name."""
        return column(name)

    def look(self, run: RunInfo) -> str:
        """The table, in a terminal."""
        return f"column -s, -t {run.own_dir}/metrics.csv | less -S"

    def _let_go(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def _points(self, points: Points) -> None:
        names = {column(name) for name in points.names}
        if not names.issubset(self._changes.columns):
            self._changes.columns = sorted({*self._changes.columns, *names, "step"})
        if not points.revision:
            self._tables.append(points)
            return
        for step, cells in revise_tables(self._tables, points, self._whole).items():
            self._changes.revised.setdefault(step, {}).update(cells)

    def _rewind(self, step: int) -> None:
        self._tables = rewind_tables(self._tables, step)
        changes = self._changes
        changes.rewind = step if changes.rewind is None else min(step, changes.rewind)
        changes.revised = {at: cells for at, cells in changes.revised.items() if at < step}

    def _append_rows(self) -> None:
        lines = [encode(table, self._columns, self._whole) for table in self._tables]
        file = self._open_file()
        for chunk in lines:
            file.append(chunk)
        self._rows += sum(len(table.steps) for table in self._tables)
        self._tables = []

    def _replace_file(self) -> None:
        """The file as it is after the changes, with the new rows, in the place of the old one."""
        changes = self._changes
        if self._columns:
            self._open_file().flush()
        if changes.rewind is not None:
            self._keep_version()
        rows = self._rows
        if changes.columns:
            rows = -1

            def counted() -> Iterator[bytes]:
                nonlocal rows
                for line in self._changed_lines():
                    rows += 1
                    yield line

            replace(self._path, counted(), fsync=self.config.fsync)
            self._let_go()
        self._version += changes.rewind is not None
        self._columns, self._rows, self._tables = changes.columns, rows, []
        self._changes = Changes(list(self._columns))

    def _open_file(self) -> AppendFile:
        """The file, opened anew after it was replaced."""
        if self._file is None:
            if not self._columns:
                raise RuntimeError("the backend is not open")
            self._file = AppendFile(self._path, self._path.stat().st_size, fsync=self.config.fsync)
        return self._file

    def _changed_lines(self) -> Iterator[bytes]:
        changes = Changes(
            self._changes.columns, self._changes.rewind, {k: dict(v) for k, v in self._changes.revised.items()}
        )
        yield header(changes.columns)
        if self._columns:
            with self._path.open("rb") as file:
                file.seek(len(header(self._columns)))
                yield from changes.apply(self._columns, (line.removesuffix(END) for line in file))
        for table in self._tables:
            yield from encode(table, changes.columns, self._whole).splitlines(keepends=True)
        for step, cells in changes.revised.items():
            if cells:
                yield encode_cells(step, cells, changes.columns)

    def _read(self, rows: int) -> None:
        """Take the file as it is, cut to its first `rows` rows. Raises StartOverError when it has less."""
        self._let_go()
        self._columns, self._rows, start, end = [], 0, 0, 0
        if self._path.is_file():
            self._columns, start = read_columns(self._path)
        if self._columns:
            end, self._rows = end_of_row(self._path, start, rows)
        if self._rows < rows:
            raise StartOverError(f"{self._path} has {self._rows} rows of {rows}")
        if self._columns:
            self._file = AppendFile(self._path, end, fsync=self.config.fsync)

    def _backup(self, version: int) -> Path:
        return self._path.with_name(f".{self._path.name}.v{version}")

    def _keep_version(self) -> None:
        """A second name for the file, which the next version does not replace."""
        backup = self._backup(self._version)
        backup.unlink(missing_ok=True)
        if self._path.is_file():
            try:
                os.link(self._path, backup)
            except OSError:  # a file system without links
                shutil.copyfile(self._path, backup)
        self._backup(self._version - _BACKUPS).unlink(missing_ok=True)

    def _go_back(self) -> None:
        """When a later version was begun and not committed, the kept one is the file again."""
        backup = self._backup(self._version)
        if backup.exists():
            backup.replace(self._path)
        for path in self._path.parent.glob(f".{self._path.name}.v*"):
            path.unlink()  # also the second of two names of one file, which replace() leaves alone
