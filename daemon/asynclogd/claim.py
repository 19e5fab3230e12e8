"""A daemon that wants a run which a tool has open says so by a file beside the journal, and the tool makes way."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

CLAIM = "journal.wanted"


def lay(run_dir: Path) -> None:
    """Want the run."""
    with suppress(OSError):  # the disk is full, say: then it is waited for as long as it takes
        (run_dir / CLAIM).touch()


def lies(run_dir: Path) -> bool:
    """Whether a daemon wants the run."""
    return (run_dir / CLAIM).exists()


def lift(run_dir: Path) -> None:
    """Who has the run open now has seen the claim, or it is an old one."""
    with suppress(OSError):
        (run_dir / CLAIM).unlink(missing_ok=True)
