"""Removing a run's journal, media and spool, so that no process that opens the run meanwhile is harmed."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from asynclog_proto.errors import AsynclogError
from asynclogd.catalog import JOURNAL
from asynclogd.entries import Stream
from asynclogd.journal import Journal, JournalCorruptError, JournalVersionError
from asynclogd.journalcopy import COPY_PREFIX
from asynclogd.living import sign_of_life
from asynclogd.overview import kept_paths


class LivingError(AsynclogError):
    """A rank of the run lives."""


def remove(run_dir: Path, subdirs: Iterable[str] = (), rings: Iterable[Path] = ()) -> None:
    """Remove what is asynclog's own, and the run's directories `subdirs`, those of backends. What else is there (its
    training's checkpoints, say) stays. `rings`: directories where a living rank's ring may lie.

    The journal is held meanwhile, and is the last file to go: a removal that is cut short is a run that can be removed
    again. Raises JournalBusyError when a process has the run open, LivingError when a rank of it lives, OSError.
    """
    with contextlib.ExitStack() as stack:
        streams: list[Stream] = []
        if (run_dir / JOURNAL).exists():
            # One that can't be read has no owner either: whoever opened it was told the same.
            with contextlib.suppress(JournalCorruptError, JournalVersionError):
                streams = stack.enter_context(Journal.open(run_dir / JOURNAL)).streams()
        found = kept_paths(run_dir)  # before it is looked for life: a spool that is begun from now on stays
        if alive := sign_of_life(run_dir, streams, rings):  # it may have come since the run was chosen
            raise LivingError(alive)
        for subdir in subdirs:
            directory = run_dir / subdir
            if run_dir.resolve() in directory.resolve().parents and not directory.is_symlink():
                shutil.rmtree(directory, ignore_errors=True)
        for path in found:
            path.unlink(missing_ok=True)
    for directory in (run_dir / "media", *run_dir.glob(f"{COPY_PREFIX}*")):
        shutil.rmtree(directory, ignore_errors=True)
    spools = [path for path in (run_dir / "spool").glob("*") if path.is_dir()]
    for directory in (*spools, run_dir / "spool", run_dir / "rings", run_dir, run_dir.parent):
        with contextlib.suppress(OSError):  # there are files of others in it, or of a rank that begins
            directory.rmdir()
