"""The parts that are C where the wheel has them. Each has a twin in Python, which says what it does.

ASYNCLOG_PURE_PYTHON=1 takes the twins, to see what the others are worth.
"""

from __future__ import annotations

import os
import warnings
from importlib import import_module
from types import ModuleType

VERSIONS = {"_writer": 3, "_hosttensors": 1, "_hostarrays": 1, "_knownmedia": 1}
"""Of each extension; its C says when it grows."""


def extension(name: str) -> ModuleType | None:
    """The extension `asynclog.<name>`, or None where its twin has to do."""
    if os.environ.get("ASYNCLOG_PURE_PYTHON", "") not in {"", "0"}:
        return None
    try:
        module = import_module(f"asynclog.{name}")
    except ImportError:
        return None
    if getattr(module, "VERSION", 0) != VERSIONS[name]:
        # Sources have moved on under an editable install.
        from asynclog.notices import AsynclogWarning

        text = f"asynclog: the compiled {name} is of another version and is not used: install asynclog again"
        warnings.warn(text, AsynclogWarning, stacklevel=2)
        return None
    return module
