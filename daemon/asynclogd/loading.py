"""A backend's class by where it is: "package.module:Class", or "/directory/file.py:Class".

A module is one that this Python can import. A file is loaded by itself: what it imports has to be importable here, its
neighbours are not. It is loaded again once it has changed, so that the next run has the new code in a daemon that
lives on.

This runs a user's code in the daemon, so a file has to be this user's or root's, and writable by nobody else but its
group. Whoever asks for one is this user: that is checked of who calls at the socket, of journals, and of spools.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import stat
import sys
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from asynclog_proto.errors import ConfigError
from asynclogd.backends.base import Backend

GROUP = "asynclog.backends"


def load(name: str, where: str) -> type[Backend]:
    """The class at `where`, for the backend `name`. Raises ConfigError when there is none or it can't be loaded."""
    place, _, attribute = where.rpartition(":")
    if not place or not attribute.isidentifier():
        raise ConfigError(
            f"backend {name!r}: {where!r} is no class (allowed: package.module:Class, /dir/file.py:Class)"
        )
    try:
        loaded = _attribute(place, attribute)
    except ConfigError as error:
        raise ConfigError(f"backend {name!r}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever a foreign module raises when it is imported
        raise ConfigError(f"backend {name!r}: {where} can't be loaded: {error!r}") from error
    if not (isinstance(loaded, type) and issubclass(loaded, Backend)):
        raise ConfigError(f"backend {name!r}: {where} is not a subclass of asynclogd.backends.base.Backend")
    return loaded


def _attribute(place: str, attribute: str) -> Any:
    if not place.endswith(".py"):
        return importlib.metadata.EntryPoint("", f"{place}:{attribute}", GROUP).load()
    path = Path(place)
    if not path.is_absolute():
        raise ConfigError(f"{place!r} is not an absolute path")
    facts = path.stat()
    if facts.st_uid not in {os.getuid(), 0} or facts.st_mode & stat.S_IWOTH:
        raise ConfigError(f"{place} is not this user's, or writable by others: it is not loaded")
    return getattr(_module(path, facts.st_mtime_ns, facts.st_size), attribute)


@lru_cache(maxsize=32)
def _module(path: Path, *version: int) -> ModuleType:
    """A file's module, under a name of its own: two projects may both have a backend.py."""
    digest = hashlib.blake2b(repr((path, version)).encode(errors="surrogateescape"), digest_size=6).hexdigest()
    spec = importlib.util.spec_from_file_location(f"asynclog_backend_{digest}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses and msgspec look up a class's module by its name
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[spec.name]
        raise
    return module
