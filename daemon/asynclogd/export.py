"""A run's points as files, by the backend that writes such files: everything at once, into a place that is new."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from asynclog_proto import __version__
from asynclogd import mending
from asynclogd.backends.base import Backend, RunInfo
from asynclogd.catalog import title
from asynclogd.delivery import BrokenError, Limiter
from asynclogd.entries import Cursor
from asynclogd.exportplace import ExportError, in_place
from asynclogd.journal import Journal
from asynclogd.media.store import MediaStore
from asynclogd.opening import Opening
from asynclogd.watch import Watch

BATCH_BYTES = 4 << 20

FORMATS = ("parquet", "csv", "jsonl")
"""Backends that write tables, by their names."""

Told = Callable[[int], None]


def export(
    journal: Journal,
    run_dir: Path,
    form: str,
    backend: Backend,
    limiter: Limiter,
    out: Path,
    tell: Told = lambda _: None,
) -> Cursor:
    """Write all that `limiter` lets pass into the directory `out`, replacing an earlier export; `form` is what it says
    of its format. Returns what was written as a cursor has it. Raises ExportError for a backend that can't be opened
    and for a place that is something else's, OSError.
    """
    run = RunInfo(
        project=run_dir.parent.name,
        name=run_dir.name,
        dir=run_dir,
        own_dir=out,
        world=max((stream.world_size for stream in journal.streams()), default=1),
        read_blob=MediaStore(run_dir / "media").read,
    )
    about = {"run": title(run_dir), "format": form, "asynclog": __version__}
    with in_place(out, run_dir, about) as part:
        try:
            return _write(journal, run, part, backend, limiter, tell)
        except BrokenError as error:
            raise ExportError(str(error)) from error


def _write(journal: Journal, run: RunInfo, part: Path, backend: Backend, limiter: Limiter, tell: Told) -> Cursor:
    items = mending.Items(journal)
    opening = Opening("export", backend, replace(run, own_dir=part), limiter, Cursor(), Watch())
    try:
        while opening.read < journal.last_offset:
            opening.offer(items.read(opening.read, BATCH_BYTES))
            tell(opening.read)
        cursor, _ = opening.settle()
    finally:
        backend.close("")
    return cursor
