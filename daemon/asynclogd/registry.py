"""Backends by name: entry points of the group `asynclog.backends`, ours and those of any installed package.

    [project.entry-points."asynclog.backends"]
    print = "my_package:PrintBackend"

A backend that is not installed has the option `class`, which says where its class is (see loading.py).

Options are checked before anything is opened; each error names the backend, the key and what is allowed. One that is a
secret says where it is, `env:NAME` or `file:PATH`: the secret itself is only in what `configure` returns.
"""

from __future__ import annotations

import difflib
import importlib.metadata
import os
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from asynclog_proto.errors import ConfigError
from asynclog_proto.secrets import check_options, is_secret, reference
from asynclogd.backends.base import Backend, BackendConfig
from asynclogd.loading import GROUP, load

CLASS = "class"
"""The option that says where a backend's class is."""


class Registry:
    """The backends that are installed here. They are found once, for that reads a file of each package; and once more
    when one is missing and a place of packages has changed since. Raises ConfigError where it says so.
    """

    def __init__(self) -> None:
        self._found: dict[str, str] | None = None
        """where each class is, by name"""
        self._places: tuple[tuple[str, int], ...] = ()
        """as they were then"""

    def names(self) -> list[str]:
        """The names of the installed backends, sorted."""
        return sorted(self._known())

    def find(self, name: str, where: Any = None) -> type[Backend]:
        """The class that is registered under `name`, or the one at `where`. Raises ConfigError when there is none or
        it can't be loaded.
        """
        installed = self._known().get(name)
        if where is not None:
            if installed is not None:
                raise ConfigError(f"backend {name!r}: {installed} has that name; give the one at {where!r} another")
            if not isinstance(where, str):
                raise ConfigError(f"backend {name!r}: option 'class': expected str; got {where!r}")
            return load(name, where)
        if installed is None and self._places != _places():
            self._found = None
            installed = self._known().get(name)
        if installed is None:
            raise ConfigError(f"backend {name!r}: there is none of that name{_instead(name, self.names())}")
        return load(name, installed)

    def build(self, name: str, options: Mapping[str, Any] | None = None) -> Backend:
        """A backend, not opened, with its options. Raises ConfigError."""
        own = dict(options or {})
        check_options(name, own)
        backend = self.find(name, own.pop(CLASS, None))
        return backend(configure(name, backend.Config, own))

    def _known(self) -> Mapping[str, str]:
        if self._found is None:
            self._places = _places()  # before they are read: what is installed meanwhile is looked for again
            points = importlib.metadata.entry_points(group=GROUP)
            self._found = {point.name: point.value for point in reversed(list(points))}  # of two, the first
        return self._found


def _places() -> tuple[tuple[str, int], ...]:
    """Where packages are installed, and when something was last (ns): a package is a new name in its place."""
    return tuple((place, _changed(Path(place or "."))) for place in sys.path)


def _changed(place: Path) -> int:
    try:
        return place.stat().st_mtime_ns
    except OSError:
        return 0


def names() -> list[str]:
    """`Registry.names`, for who asks once."""
    return Registry().names()


def find(name: str, where: Any = None) -> type[Backend]:
    """`Registry.find`, for who asks once."""
    return Registry().find(name, where)


def build(name: str, options: Mapping[str, Any] | None = None) -> Backend:
    """`Registry.build`, for who asks once."""
    return Registry().build(name, options)


def configure(name: str, config: type[BackendConfig], options: Mapping[str, Any]) -> BackendConfig:
    """Options as the backend's own config. Texts count as the numbers they hold, for environment variables have
    no other type. Raises ConfigError.
    """
    fields = msgspec.structs.fields(config)
    known = [field.encode_name for field in fields]
    for key in options:
        if key not in known:
            raise ConfigError(f"backend {name!r}: unknown option {key!r}{_instead(str(key), known)}")
    missing = [field.encode_name for field in fields if field.required and field.encode_name not in options]
    if missing:
        raise ConfigError(f"backend {name!r}: option {missing[0]!r} is required")
    try:
        return msgspec.convert(_found(name, options), config, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        what, _, place = str(error).partition(" - at ")
        key = re.split(r"[.\[]", place.strip("`").removeprefix("$").lstrip("."))[0]
        at = f"option {key!r}: " if key else ""
        got = f"; got {options[key]!r}" if key in options and not is_secret(key) else ""
        raise ConfigError(f"backend {name!r}: {at}{_plain(what)}{got}") from error


def _plain(what: str) -> str:
    """Msgspec's "Expected `int`, got `str`" in lower case and without its backticks."""
    return (what[:1].lower() + what[1:]).replace("`", "")


def _found(name: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options with the secrets that they refer to. Raises ConfigError when one can't be had."""
    found = dict(options)
    for key, value in options.items():
        referred = reference(value) if isinstance(value, str) and is_secret(key) else None
        if referred is None:
            continue
        kind, where = referred
        try:
            found[key] = os.environ[where] if kind == "env" else Path(where).expanduser().read_text().strip()
        except (KeyError, OSError, ValueError, RuntimeError) as error:  # the last: nobody's home
            missing = isinstance(error, (KeyError, RuntimeError))
            why = "there is none" if missing else getattr(error, "strerror", "") or "no text"
            raise ConfigError(f"backend {name!r}: option {key!r}: {value}: {why}, where the daemon runs") from error
    return found


def _instead(name: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(name.lower(), known, n=1)
    if close:
        return f"; did you mean {close[0]!r}? Allowed: {', '.join(known)}"
    return f". Allowed: {', '.join(known) or 'none'}"
