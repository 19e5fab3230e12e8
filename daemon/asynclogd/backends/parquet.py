"""Parquet, in long format: a row for each point, which pandas and DuckDB read in one line.

    points/part-*.parquet       name, step, time, value, ranks, world, generation, revision, row
    references/part-*.parquet   media: which bytes of which file of the run's directory
    params.parquet  summary.parquet     name, value (its text), number (where it is one)

The tables have what counts: a late value's row replaces the one before, and a rewind removes the rows of the steps that
are run again. `row` numbers rows in the order in which they came; what was removed leaves gaps.

The position is how many rows there have been of each table: later ones are removed when it is opened there. Removing
rows again that a crash has removed already changes nothing, so that needs no position of its own. It counts the rows
that are kept, too: where there are fewer, somebody has removed or shortened a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from asynclogd.backends._join import joined
from asynclogd.backends.base import (
    Backend,
    BackendConfig,
    Item,
    Media,
    Params,
    Points,
    Position,
    Rewind,
    RunEnd,
    RunInfo,
    Summary,
)

if TYPE_CHECKING:
    from asynclogd.backends._parquetfacts import Facts
    from asynclogd.backends._parquetparts import Parts

__all__ = ["ParquetBackend", "ParquetConfig"]


class ParquetConfig(BackendConfig, frozen=True):
    """`fsync`: a flush survives power loss too, not only the end of this process."""

    fsync: bool = False


class ParquetBackend(Backend):
    """Points and references to media in numbered files that are merged as they become many, and at the run's end."""

    kinds = frozenset({"points", "media", "params", "summary", "rewind", "end"})
    requires = ("pyarrow", "parquet")
    Config = ParquetConfig
    config: ParquetConfig

    def __init__(self, config: ParquetConfig | None = None) -> None:
        super().__init__(config)
        self._points: Parts | None = None
        self._media: Parts | None = None
        self._facts: dict[type[Item], Facts] = {}
        self._ended = False

    def open(self, run: RunInfo, position: Position | None) -> None:
        """Cut the tables to the position, or put those that no position knows of aside. Raises StartOverError where a
        table has lost rows.
        """
        from asynclogd.backends._parquetfacts import Facts
        from asynclogd.backends._parquetparts import Parts

        fsync, at, fresh = self.config.fsync, position or {}, position is None
        tables = [
            Parts(run.own_dir / name, None if fresh else int(at[name]), at.get("kept", {}).get(name), fsync=fsync)
            for name in ("points", "references")
        ]
        self._points, self._media = tables
        files: dict[type[Item], str] = {Params: "params.parquet", Summary: "summary.parquet"}
        self._facts = {kind: Facts(run.own_dir / file, fresh=fresh, fsync=fsync) for kind, file in files.items()}
        self._ended = False

    def write(self, batch: Sequence[Item]) -> None:
        """Take items. Many rows are written out at once, others with `flush`."""
        points, media = self._tables()
        for item in joined(batch):
            if isinstance(item, Points):
                points.append_points(item)
            elif isinstance(item, Media):
                media.append_media(item)
            elif isinstance(item, (Params, Summary)):
                self._facts[type(item)].update(item.values)
            elif isinstance(item, Rewind):
                points.rewind(item.step)
                media.rewind(item.step)
            elif isinstance(item, RunEnd):
                self._ended = True

    def flush(self) -> Position:
        """Write what was taken. Raises OSError: flush again."""
        points, media = self._tables()
        position = {"points": points.flush(), "references": media.flush()}
        kept = {"points": points.kept, "references": media.kept}
        for file in self._facts.values():
            file.save()
        if self._ended:
            points.compact()
            media.compact()
            self._ended = False
        return {**position, "kept": kept}

    def close(self, status: str) -> None:
        """Let go of what was not flushed; no file is held open."""
        del status
        self._points = self._media = None

    def look(self, run: RunInfo) -> str:
        """The points as pandas has them."""
        return f"python -c \"import pandas; print(pandas.read_parquet('{run.own_dir}/points'))\""

    def _tables(self) -> tuple[Parts, Parts]:
        if self._points is None or self._media is None:
            raise RuntimeError("the backend is not open")
        return self._points, self._media
