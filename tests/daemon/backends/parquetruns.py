"""Runs written to Parquet, and what DuckDB reads of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb

from asynclogd.backends.base import Item, Position, RunInfo
from asynclogd.backends.parquet import ParquetBackend
from asynclogd.samples import exactly


def rows(run: RunInfo, query: str) -> list[Any]:
    """What DuckDB gives that is started in the backend's directory."""
    with duckdb.connect(config={"file_search_path": str(run.own_dir)}) as database:
        return database.execute(query).fetchall()


def info(directory: Path) -> RunInfo:
    own = directory / "run-1" / "parquet"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", "run-1", own.parent, own, world=2)


def written(run: RunInfo, *batches: list[Item], position: Position | None = None) -> Position:
    """Open, write and flush each batch, close."""
    backend = ParquetBackend()
    backend.open(run, position)
    for items in batches:
        backend.write(items)
        position = backend.flush()
    backend.close("")
    assert position is not None
    return position


def files(run: RunInfo) -> list[str]:
    return sorted(path.name for path in (run.own_dir / "points").iterdir())


def read(run: RunInfo) -> list[tuple[str, int, bytes]]:
    return sorted(exactly(*row) for row in rows(run, "SELECT name, step, value FROM 'points/*.parquet'"))
