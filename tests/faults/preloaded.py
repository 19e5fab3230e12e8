"""Libraries of this directory that lay themselves before calls of libc: for faults of disks, and of the clock."""

from __future__ import annotations

import errno
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def built(source: str, directory: Path) -> Path:
    """The library that is made of a C file beside this one."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    made = (directory / source).with_suffix(".so")
    path = Path(__file__).with_name(source)
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", made, path, "-ldl"], check=True)
    return made


class BreakingDisk:
    """A disk on which calls fail for a while, for processes that are started with its `environment`."""

    def __init__(self, library: Path, flag: Path) -> None:
        self._library, self._flag = library, flag

    def environment(self, files: str, calls: str, error: int = errno.EIO) -> dict[str, str]:
        """`files`: patterns of their paths, `:` between them. `calls` of read, write, sync, make."""
        return {
            "LD_PRELOAD": str(self._library), "BROKEN_FILE": files, "BROKEN_CALLS": calls,
            "BROKEN_WHILE": str(self._flag), "BROKEN_ERRNO": str(error),
        }  # fmt: skip

    def breaks(self) -> None:
        """From here on."""
        self._flag.touch()

    def works(self) -> None:
        """Again."""
        self._flag.unlink()


class MovedClock:
    """A wall clock that can be set, of processes that are started with its `environment`."""

    def __init__(self, library: Path, file: Path) -> None:
        self._file = file
        self.environment = {"LD_PRELOAD": str(library), "MOVED_CLOCK": str(file)}
        file.write_bytes(bytes(8))

    def sets(self, ahead: int) -> None:
        """From here on it is so many s ahead of what it would be."""
        with self._file.open("r+b") as file:  # mapped by those processes: not another file in its place
            file.write(ahead.to_bytes(8, sys.byteorder, signed=True))
