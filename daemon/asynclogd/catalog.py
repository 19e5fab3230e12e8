"""Which runs there are below a directory, and which of them a person means. Paths only; no journal is opened."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path

from asynclog_proto.errors import ConfigError

DEFAULT_DIR = "asynclog"
"""What `asynclog.init()` writes to when it is not told."""

JOURNAL = "journal.sqlite"
"""The journal's name in a run's directory."""

MOST_TOLD = 8


def default_dir(environ: Mapping[str, str]) -> Path:
    """Where init() puts runs when it is not told."""
    return Path(environ.get("ASYNCLOG_DIR") or DEFAULT_DIR)


def find_runs(directory: Path) -> list[Path]:
    """Directories under `directory` (it included) that hold a journal or a spool."""
    journals = {path.parent for path in directory.glob(f"**/{JOURNAL}")}
    spools = {path.parent.parent.parent for path in directory.glob("**/spool/*/*.spool")}
    inside = {run for run in spools | journals if run.is_relative_to(directory)}
    return sorted(inside)


def is_run(directory: Path) -> bool:
    """Whether a run's journal or spool is right in a directory."""
    return (directory / JOURNAL).is_file() or bool(spool_of(directory))


def spool_of(run_dir: Path) -> list[Path]:
    """The files of records that wait in a run's spool."""
    return sorted(run_dir.glob("spool/*/*.spool"))


def title(run_dir: Path) -> str:
    """project/name."""
    return f"{run_dir.parent.name}/{run_dir.name}"


def locate(text: str, root: Path) -> Path:
    """The run that `text` means: its directory, or project/name or name below `root`, whole or as much of the
    beginning as is unique. Raises ConfigError, which names those that are near.
    """
    for path in (Path(text), root / text):
        if is_run(path):
            return Path(os.path.abspath(path))  # noqa: PTH100 - a link stays a link, as the run's daemon knows it
    runs = [Path(os.path.abspath(run)) for run in find_runs(root)]  # noqa: PTH100 - the same
    for fits in (str.__eq__, str.startswith):
        found = [run for run in runs if fits(run.name, text) or fits(title(run), text)] if text else []
        if len(found) == 1:
            return found[0]
        if found:
            raise ConfigError(f"{text!r} may be any of {_some([title(run) for run in found])}: give more of it")
    raise ConfigError(_none(text, root, runs))


def _none(text: str, root: Path, runs: list[Path]) -> str:
    if not runs:
        where = f"there are no runs below {root}" if root.is_dir() else f"there is no directory {root}"
        return f"there is no run {text!r}: {where} (give a run's own directory, or --dir, or set ASYNCLOG_DIR)"
    titles = [title(run) for run in runs]
    names = {run.name: title(run) for run in runs}
    near = difflib.get_close_matches(text, [*titles, *names], n=3, cutoff=0.5)
    near = list(dict.fromkeys(names.get(each, each) for each in near))
    meant = f"; did you mean {_some(near)}?" if near else f"; there are {_some(titles)}"
    return f"there is no run {text!r} below {root}{meant}"


def _some(titles: list[str]) -> str:
    more = f" and {len(titles) - MOST_TOLD} more" if len(titles) > MOST_TOLD else ""
    return ", ".join(titles[:MOST_TOLD]) + more
