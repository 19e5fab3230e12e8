"""A run that is there already. `init(resume=...)`: it has to be, as far as this machine can tell, and steps that
`log()` counts itself go on where it stopped; without that it may be a surprise.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path
from typing import Any

from asynclog import launch
from asynclog.notices import Notices
from asynclog.process import RUNS
from asynclog.rows import Rows
from asynclog.sender import Sender
from asynclog_proto.errors import ConfigError
from asynclog_proto.frames import Hello

BEGUN_BYTES = 32 << 10
"""A journal that was closed is larger: one that is begun just now has its tables in its -wal, and a page."""

WELCOME_S = 30.0
"""A daemon that is started for this run has so long to read its journal and tell its last step."""


def look_for_earlier(
    hello: Hello, run_dir: Path, notices: Notices, resume: str | None, launch_id: str, *, remote: bool
) -> None:
    """The run may be open in this process (a notebook's cell is executed again): it is ended. Or it is from before.
    Raises ConfigError when it has to be there and is not.
    """
    ended = not launch_id and RUNS.end_earlier(run_dir, hello.rank)
    if ended:
        text = f"this process had the run {hello.project}/{hello.name} open: init() ends it, and begins it again"
        notices.add("again", text)
    if resume is not None and hello.rank == 0 and not remote:
        check(run_dir)
    elif not ended and not launch_id and resume is None:
        tell_of_earlier_run(hello, run_dir, notices)


def tell_of_earlier_run(hello: Hello, run_dir: Path, notices: Notices) -> None:
    """Going on with a run is right after a restart, and a surprise after a name was taken twice: rank 0 says so."""
    if hello.rank == 0 and not launch.is_restart(os.environ) and _was_there(run_dir, hello.world_size):
        text = f"run {hello.project}/{hello.name} exists: it goes on, and from the first new step on what is"
        notices.add("exists", f"{text} logged replaces what its files had (the journal keeps both)")


def _was_there(run_dir: Path, world_size: int) -> bool:
    """Whether the run's journal is of before this launch: the daemon writes it for some seconds after a run's end.

    Another rank of several may have begun it. One that was not written since this process began is none's of these, nor
    is one that nobody has open.
    """
    journal = run_dir / "journal.sqlite"
    try:
        is_open = journal.with_name(f"{journal.name}-wal").exists()
        facts = journal.stat()
    except OSError:
        return False
    closed = not is_open and facts.st_size > BEGUN_BYTES
    return world_size == 1 or facts.st_mtime < launch.process_start() or closed


def named(name: Any, resume: Any) -> Any:
    """The run's name. Raises ConfigError when `name` and `resume` name two."""
    if name is not None and name != resume:
        raise ConfigError(f"resume={resume!r} names the run already: leave out name={name!r}")
    return resume


def check(run_dir: Path) -> None:
    """Raises ConfigError when there is no run in `run_dir`, and names those that are near."""
    if (run_dir / "journal.sqlite").is_file() or (run_dir / "spool").is_dir():
        return
    try:
        names = sorted(entry.name for entry in os.scandir(run_dir.parent) if entry.is_dir())
    except OSError:
        names = []
    near = difflib.get_close_matches(run_dir.name, names, n=3)
    meant = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ConfigError(f"resume={run_dir.name!r}: there is no such run in {run_dir.parent}{meant}")


def count_on(rows: Rows, sender: Sender, notices: Notices) -> None:
    """Have `log()` without a step go on after the run's last one, which the daemon knows; wait for that."""
    if sender.online and sender.welcomed.wait(WELCOME_S) and sender.refused is None:
        rows.writer.step = -1 if sender.step is None else sender.step
        return
    why = f"no daemon has told it in {WELCOME_S:g} s" if sender.online else "offline there is no daemon that knows it"
    if sender.refused is not None:
        why = "the daemon refuses the run"
    text = f"the last step of the run that is resumed is unknown ({why}): give log() its step, or steps begin at 0"
    notices.add("resume", f"{text} and replace the run's")


def tell_of_none(hello: Hello, endpoint: str | None, sender: Sender, notices: Notices) -> None:
    """Of a run on another machine only its daemon can tell that it is not there, and has begun it by then."""
    if sender.welcomed.is_set() and sender.refused is None and sender.step is None:
        where = f"the daemon at {endpoint} has no step of such a run in {hello.dir}"
        notices.add("none", f"resume={hello.name!r}: {where}: it begins now. Is that its name and directory?")
