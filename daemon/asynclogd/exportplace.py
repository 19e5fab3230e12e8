"""The place of an export: a directory that says what it is, so that nothing else is ever replaced by one.

The files are written beside their place and moved there when they are whole, so whoever reads the place finds all or
nothing, whatever is killed when.
"""

from __future__ import annotations

import fcntl
import glob
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from asynclog_proto.errors import AsynclogError
from asynclogd.catalog import JOURNAL

MARKER = ".asynclog-export.json"
"""What an export is of. Hidden, so that no `*` and no reader of a directory's tables meets it."""

OWN = frozenset({JOURNAL, "media", "spool", "rings"})
"""What is in a run's directory by its name, whether it is there yet or not."""


class ExportError(AsynclogError):
    """What was asked for can't be written; the text says why."""


def check(out: Path, run_dir: Path) -> None:
    """Raises ExportError where `out` is not a place that an export of the run may take: there, only an earlier export
    and an empty directory are replaced.
    """
    place, run = out.resolve(), run_dir.resolve()
    for directory, what in ((Path.cwd(), "the current directory"), (run, "the run's own directory")):
        if place == directory or place in directory.parents:
            within = "" if place == directory else "the parent of "
            raise ExportError(f"{out} is {within}{what}, which is not replaced: --out names another directory")
    if run in place.parents and place.relative_to(run).parts[0] in OWN:
        raise ExportError(f"{out} is where the run keeps what is its own: --out names another directory")
    if not place.exists():
        return
    if not place.is_dir():
        raise ExportError(f"{out} is a file; --out names a directory")
    if not (place / MARKER).is_file() and any(place.iterdir()):
        raise ExportError(
            f"{out} is no earlier export (there is no {MARKER} in it) and not empty, so it is not replaced, by --force "
            "neither: remove it yourself, or --out names another directory"
        )


@contextmanager
def in_place(out: Path, run_dir: Path, about: Mapping[str, Any]) -> Iterator[Path]:
    """A new directory, which becomes `out` when the block has ended well and is removed when not. `about` is what its
    marker says. Raises ExportError where `out` may not be replaced.
    """
    check(out, run_dir)
    out = out.resolve()
    out.parent.mkdir(parents=True, exist_ok=True)
    former = out.with_name(f".{out.name}.former-{os.getpid()}")
    _remove_left(out)
    part = out.with_name(f".{out.name}.part-{os.getpid()}")
    part.mkdir()
    with _held(part):
        try:
            yield part
            for path in part.glob(".*"):
                path.unlink()  # a backend's notes on how to go on: nobody will
            (part / MARKER).write_text(json.dumps(about, indent=2) + "\n")
            check(out, run_dir)  # somebody may have put something there meanwhile
            _move(part, out, former)
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _held(directory: Path) -> Iterator[None]:
    """Hold a directory's lock, which this process loses however it ends. Raises OSError where another holds it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(descriptor)


def _remove_left(out: Path) -> None:
    """Remove what exports to the same place have left that were killed."""
    for part in out.parent.glob(f".{glob.escape(out.name)}.part-*"):
        with suppress(OSError), _held(part):
            shutil.rmtree(part, ignore_errors=True)
    for former in out.parent.glob(f".{glob.escape(out.name)}.former-*"):
        if former.with_name(former.name.replace(".former-", ".part-")).exists():
            continue  # its export is just moving to its place
        if out.exists():
            shutil.rmtree(former, ignore_errors=True)
        else:
            former.rename(out)


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
