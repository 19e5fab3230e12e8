"""Removing a run's journal, media and spool, so that no process that opens the run meanwhile is harmed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from asynclogd.catalog import JOURNAL
from asynclogd.journal import Journal, JournalCorruptError, JournalVersionError
from asynclogd.journalcopy import COPY_PREFIX
from asynclogd.overview import kept_paths


def remove(run_dir: Path, subdirs: Iterable[str] = ()) -> None:
    """Remove what is asynclog's own, and the run's directories `subdirs`, those of backends. What else is there (its
    training's checkpoints, say) stays.

    The journal is held meanwhile, and is the last file to go: a removal that is cut short is a run that can be removed
    again. Raises JournalBusyError when a process has the run open, OSError.
    """
    with contextlib.ExitStack() as stack:
        if (run_dir / JOURNAL).exists():
            # One that can't be read has no owner either: whoever opened it was told the same.
            with contextlib.suppress(JournalCorruptError, JournalVersionError):
                stack.enter_context(Journal.open(run_dir / JOURNAL))
        for subdir in subdirs:
            directory = run_dir / subdir
            if run_dir.resolve() in directory.resolve().parents and not directory.is_symlink():
                shutil.rmtree(directory, ignore_errors=True)
        for path in kept_paths(run_dir):
            path.unlink(missing_ok=True)
    for directory in (run_dir / "media", run_dir / "spool", run_dir / "rings", *run_dir.glob(f"{COPY_PREFIX}*")):
        shutil.rmtree(directory, ignore_errors=True)
    for directory in (run_dir, run_dir.parent):
        with contextlib.suppress(OSError):  # there are files of others in it
            directory.rmdir()
