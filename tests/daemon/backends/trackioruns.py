"""Runs written to trackio, and what its storage reads of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asynclogd.backends.base import (
    Item,
    Position,
    RunInfo,
)
from asynclogd.backends.trackio import TrackioBackend, TrackioConfig


def logs(run: RunInfo) -> list[dict[str, Any]]:
    """The run's rows as trackio's API and dashboard have them."""
    from trackio.sqlite_storage import SQLiteStorage

    found: list[dict[str, Any]] = SQLiteStorage.get_logs(run.project, run.name, run_id=run_id(run))
    return found


def rows(run: RunInfo) -> list[tuple[str, int, Any]]:
    from asynclogd.backends._trackiorows import name_of

    own = {"timestamp", "step"}
    return [(name_of(key), row["step"], row[key]) for row in logs(run) for key in row if key not in own]


def run_id(run: RunInfo) -> str:
    return (run.own_dir / "token").read_text()


def info(directory: Path, name: str = "run-1") -> RunInfo:
    own = directory / name / "trackio"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", name, own.parent, own, world=2)


def written(run: RunInfo, *batches: list[Item], position: Position | None = None, **options: str) -> Position:
    """Open, write and flush each batch, close."""
    backend = TrackioBackend(TrackioConfig(**options))
    backend.open(run, position)
    position = backend.flush()
    for items in batches:
        backend.write(items)
        position = backend.flush()
    backend.close("")
    return position
