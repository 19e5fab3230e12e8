"""The writing end of a ring: the compiled one where the wheel has it, else its twin in Python.

ASYNCLOG_PURE_PYTHON=1 takes the twin, to see what the other is worth.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from asynclog.pywriter import Writer

__all__ = ["COMPILED", "Writer"]


def _compiled() -> type[Writer] | None:
    if os.environ.get("ASYNCLOG_PURE_PYTHON", "") not in {"", "0"}:
        return None
    try:
        from asynclog._writer import Writer as Compiled
    except ImportError:
        return None
    return Compiled


def _twin() -> type[Writer]:
    from asynclog.pywriter import Writer as Twin

    return Twin


COMPILED = _compiled() is not None
if not TYPE_CHECKING:
    Writer = _compiled() or _twin()
