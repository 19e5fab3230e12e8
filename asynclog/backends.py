"""The backends that a caller may ask for, checked by name: the SDKs and the daemon are not imported."""

from __future__ import annotations

import difflib
import os
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from asynclog.backendoptions import check_known
from asynclog_proto.places import check_component
from asynclog_proto.secrets import check_options

BUILT_IN = ("tensorboard", "csv", "jsonl", "mlflow")
GROUP = "asynclog.backends"
CLASS = "class"
"""The option that tells the daemon where the class of a backend is that is not installed."""


def check_backends(given: Any) -> dict[str, dict[str, Any]] | None:
    """Names to options; None leaves the choice to the daemon. An instance becomes where its class is, and its options.

    Raises TypeError for the wrong shape, ValueError for a name that no installed package provides or a class that the
    daemon could not load, ConfigError for an option that one of our own backends does not have.
    """
    if given is None:
        return None
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(f"backends is None, names, or a mapping of name to options, not {given!r}")
    wanted = given.items() if isinstance(given, Mapping) else map(_named, given)
    return {name: _checked(name, value) for name, value in wanted}


def _named(each: Any) -> tuple[Any, Any]:
    return (type(each).__name__, each) if _is_backend(each) else (each, None)


def _checked(name: Any, value: Any) -> dict[str, Any]:
    if not isinstance(name, str):
        raise TypeError(f"backends: a name is a str, not {name!r}")
    if _is_backend(value):
        value = _described(name, value)
    elif value is not None and not isinstance(value, Mapping):
        raise TypeError(f"backends[{name!r}]: options are a mapping, not {value!r}")
    options = dict(value or {})
    check_options(name, options)
    if CLASS in options:
        options[CLASS] = _place(name, options[CLASS])
        _check_own_name(name)
    else:
        _check_name(name)
        check_known(name, options)
    return options


def _check_name(name: str) -> None:
    if name in BUILT_IN:
        return
    known = _installed()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        hint = f" (did you mean {near[0]!r}?)" if near else ""
        raise ValueError(f"no backend {name!r}{hint}: there are {', '.join(known)}")


def _installed() -> list[str]:
    from importlib.metadata import entry_points

    return sorted({*BUILT_IN, *(point.name for point in entry_points(group=GROUP))})


# ---- a user's own, not installed ------------------------------------------------------------------------------------


def _check_own_name(name: str) -> None:
    check_component("backends: the name", name)
    if name in _installed():
        raise ValueError(f"backends[{name!r}]: a backend of that name is installed; give yours another")


def _is_backend(value: object) -> bool:
    """Whether it is an instance of the daemon's Backend: without its module being loaded there is none."""
    base = sys.modules.get("asynclogd.backends.base")
    return base is not None and isinstance(value, base.Backend)


def _described(name: str, backend: Any) -> dict[str, Any]:
    """Where an instance's class is, and its options: the daemon, another process, makes one of its own."""
    kind = type(backend)
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    if kind.__module__ == "__main__" or not file or not kind.__qualname__.isidentifier():
        where = f"{kind.__module__}.{kind.__qualname__}"
        raise ValueError(
            f"backends[{name!r}]: the daemon can't import {where}. Put the class into a module of its own, at the top; "
            f"or say {{{name!r}: {{'class': '<this file>.py:{kind.__name__}'}}}}, and the daemon runs that file"
        )
    import msgspec

    place = file if "." not in kind.__module__ and file.endswith(".py") else kind.__module__
    options: dict[str, Any] = msgspec.to_builtins(backend.config)
    return {**options, CLASS: f"{place}:{kind.__name__}"}


def _place(name: str, given: Any) -> str:
    """`package.module:Class` as it is, `file.py:Class` with the absolute path of a file that is there."""
    place, _, attribute = given.rpartition(":") if isinstance(given, str) else ("", "", "")
    is_file = place.endswith(".py")
    if not attribute.isidentifier() or not (is_file or all(part.isidentifier() for part in place.split("."))):
        raise ValueError(f"backends[{name!r}]: class is 'package.module:Class' or 'file.py:Class', not {given!r}")
    if not is_file:
        return f"{place}:{attribute}"
    if not os.path.isfile(place):  # noqa: PTH113 - as the next line
        raise ValueError(f"backends[{name!r}]: there is no file {place}")
    return f"{os.path.abspath(place)}:{attribute}"  # noqa: PTH100 - a link stays a link
