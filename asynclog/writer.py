"""The writing end of a ring: the compiled one where the wheel has it, else its twin in Python.

ASYNCLOG_PURE_PYTHON=1 takes the twin, to see what the other is worth.
"""

from __future__ import annotations

import os
import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynclog.pywriter import Writer

__all__ = ["COMPILED", "Writer"]

VERSION = 1
"""Of the extension; _writer.c says when it grows."""


def _compiled() -> type[Writer] | None:
    if os.environ.get("ASYNCLOG_PURE_PYTHON", "") not in {"", "0"}:
        return None
    try:
        from asynclog import _writer
    except ImportError:
        return None
    if getattr(_writer, "VERSION", 0) != VERSION:
        # Sources have moved on under an editable install.
        from asynclog.notices import AsynclogWarning

        text = "asynclog: the compiled log() is of another version and is not used: install asynclog again"
        warnings.warn(text, AsynclogWarning, stacklevel=2)
        return None
    return _writer.Writer


def _twin() -> type[Writer]:
    from asynclog.pywriter import Writer as Twin

    return Twin


COMPILED = _compiled() is not None
if not TYPE_CHECKING:
    Writer = _compiled() or _twin()
