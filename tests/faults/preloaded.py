"""Libraries of this directory that lay themselves before calls of libc: for faults that need a disk that is broken."""

from __future__ import annotations

import errno
import shutil
import subprocess
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
