"""Libraries of this directory that lay themselves before calls of libc: for faults that need a disk that is broken."""

from __future__ import annotations

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
