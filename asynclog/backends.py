"""The backends that a caller may ask for, checked by name: the SDKs and the daemon are not imported."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

BUILT_IN = ("tensorboard", "csv", "jsonl", "mlflow")
GROUP = "asynclog.backends"


def check_backends(given: Any) -> dict[str, dict[str, Any]] | None:
    """Names to options; None leaves the choice to the daemon.

    Raises TypeError for the wrong shape, ValueError for a name that no installed package provides.
    """
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"backends is None, names, or a mapping of name to options, not {given!r}")
    wanted: Mapping[Any, Any] = given if isinstance(given, Mapping) else dict.fromkeys(given)
    checked: dict[str, dict[str, Any]] = {}
    for name, options in wanted.items():
        if not isinstance(name, str):
            raise TypeError(f"backends: a name is a str, not {name!r}")
        if options is not None and not isinstance(options, Mapping):
            raise TypeError(f"backends[{name!r}]: options are a mapping, not {options!r}")
        _check_name(name)
        checked[name] = dict(options or {})
    return checked


def _check_name(name: str) -> None:
    if name in BUILT_IN:
        return
    from importlib.metadata import entry_points

    known = sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"no backend {name!r}{hint}: there are {', '.join(known)}")
