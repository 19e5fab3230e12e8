"""In which order processes began to log to a run, in a file of its directory: clocks may be set, daemons away."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from asynclog_proto import places


def note(run_dir: Path, incarnation: str) -> None:
    """This process begins now, after all that are in the file. Where it can't be written, rows' times have to do."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    with contextlib.suppress(OSError):
        line = f"\n{incarnation}\n".encode()  # on its own: the one before may be cut, by a disk that was full
        fd = os.open(places.begun_path(run_dir), flags, 0o600)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)
