"""A run's points as files, by the backend that writes such files: everything at once, into a place that is new.

The files are written beside their place and moved there when they are whole, so whoever reads the place finds all or
nothing, whatever is killed when.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from asynclog_proto.errors import AsynclogError
from asynclogd.backends.base import Backend, RunInfo
from asynclogd.delivery import BrokenError, Limiter
from asynclogd.entries import Cursor
from asynclogd.journal import Journal
from asynclogd.media.store import MediaStore
from asynclogd.opening import Opening
from asynclogd.watch import Watch

BATCH_BYTES = 4 << 20

FORMATS = ("parquet", "csv", "jsonl")
"""Backends that write tables, by their names."""

Told = Callable[[int], None]


class ExportError(AsynclogError):
    """What was asked for can't be written; the text says why."""


def export(
    journal: Journal, run_dir: Path, backend: Backend, limiter: Limiter, out: Path, tell: Told = lambda _: None
) -> Cursor:
    """Write all that `limiter` lets pass into the directory `out`, which is replaced when it is there. Returns what was
    written as a cursor has it. Raises ExportError for a backend that can't be opened, OSError.
    """
    run = RunInfo(
        project=run_dir.parent.name,
        name=run_dir.name,
        dir=run_dir,
        own_dir=out,
        world=max((stream.world_size for stream in journal.streams()), default=1),
        read_blob=MediaStore(run_dir / "media").read,
    )
    with _in_place(out) as part:
        try:
            return _write(journal, run, part, backend, limiter, tell)
        except BrokenError as error:
            raise ExportError(str(error)) from error


def _write(journal: Journal, run: RunInfo, part: Path, backend: Backend, limiter: Limiter, tell: Told) -> Cursor:
    opening = Opening("export", backend, replace(run, own_dir=part), limiter, Cursor(), Watch())
    try:
        while opening.read < journal.last_offset:
            opening.offer(journal.items(opening.read, BATCH_BYTES))
            tell(opening.read)
        cursor, _ = opening.settle()
    finally:
        backend.close("")
    return cursor


@contextmanager
def _in_place(out: Path) -> Iterator[Path]:
    """A new directory, which becomes `out` when the block has ended well and is removed when not."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f".{out.name}.part-{os.getpid()}")
    former = out.with_name(f".{out.name}.former-{os.getpid()}")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
        for path in part.glob(".*"):
            path.unlink()  # a backend's notes on how to go on: nobody will
        _move(part, out, former)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _move(part: Path, out: Path, former: Path) -> None:
    if out.exists():
        out.rename(former)
    try:
        part.rename(out)
    except OSError:
        if former.exists():
            former.rename(out)
        raise
    shutil.rmtree(former, ignore_errors=True)
