"""A YAML writer for what hyperparameters are: nested maps of scalars. Any YAML 1.1 or 1.2 reader gives them back.

PyYAML is no dependency of the daemon, and of YAML this needs twenty lines.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from asynclog_proto.records import Scalar
from asynclogd.backends._files import replace
from asynclogd.backends.base import StartOverError

DEEPEST = 50
"""Maps in maps."""

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_./]*")
_WORDS = frozenset({"y", "n", "yes", "no", "on", "off", "true", "false", "null"})
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class MergedYaml:
    """A YAML file of names and values that come piece by piece; a hidden JSON file beside it keeps them flat."""

    def __init__(self, path: Path, *, fresh: bool) -> None:
        """Go on from what is there, or from nothing when `fresh`. Raises StartOverError where that is spoiled."""
        self._path = path
        self._flat = path.with_name(f".{path.stem}.json")
        self._saved = True
        self._values: dict[str, Scalar] = {}
        if fresh:
            self._flat.unlink(missing_ok=True)
            path.unlink(missing_ok=True)
        elif self._flat.is_file():
            self._values = _read(self._flat)

    def update(self, values: Mapping[str, Scalar]) -> None:
        """Take new and changed values; they reach the file with `save`."""
        self._values.update(values)
        self._saved = False

    def save(self, *, fsync: bool) -> None:
        """Write both files if anything is new."""
        if not self._saved:
            replace(self._flat, [json.dumps(self._values).encode()], fsync=fsync)
            text = dump(unflatten(self._values))
            replace(self._path, [text.encode("utf-8", "backslashreplace")], fsync=fsync)
            self._saved = True


def _read(path: Path) -> dict[str, Scalar]:
    try:
        values = json.loads(path.read_bytes())
    except ValueError as error:  # text that is no UTF-8 as well
        raise StartOverError(f"{path} is spoiled: {error}") from error
    if not isinstance(values, dict):
        raise StartOverError(f"{path} is spoiled: no names and values")
    return values


def unflatten(flat: Mapping[str, Scalar]) -> dict[str, Any]:
    """{"a/b": 1} becomes {"a": {"b": 1}}; names that can't all be nested ("a" beside "a/b") stay flat, and so do those
    that would nest too deep for Python's recursion, here and in whoever reads the file.
    """
    tree: dict[str, Any] = {}
    groups: dict[str, dict[str, Scalar]] = {}
    for name, value in flat.items():
        head, slash, rest = name.partition("/")
        if slash and head and rest and head not in flat and rest.count("/") < DEEPEST:
            groups.setdefault(head, {})[rest] = value
        else:
            tree[name] = value
    return {**tree, **{head: unflatten(group) for head, group in groups.items()}}


def dump(tree: Mapping[str, Any]) -> str:
    """The document, keys sorted."""
    return "\n".join(_lines(tree, "")) + "\n" if tree else "{}\n"


def _lines(tree: Mapping[str, Any], indent: str) -> Iterator[str]:
    for key in sorted(tree):
        value = tree[key]
        label = f"{indent}{_key(key)}:"
        if isinstance(value, Mapping) and value:
            yield label
            yield from _lines(value, indent + "  ")
        else:
            yield f"{label} {{}}" if isinstance(value, Mapping) else f"{label} {_scalar(value)}"


def _key(key: str) -> str:
    text = _scalar(key)
    # A longer key is only read after a question mark (YAML's simple keys end at 1,024 characters).
    return text if len(text) <= 1000 else f"? {text}\n"


def _scalar(value: Scalar) -> str:
    if value is None or isinstance(value, (bool, int)):
        return json.dumps(value)
    if isinstance(value, float):
        return _float(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    quoted = json.dumps(value, ensure_ascii=False)
    return _UNPRINTABLE.sub(lambda found: f"\\U{ord(found[0]):08x}", quoted)


def _float(value: float) -> str:
    if math.isfinite(value):
        text = repr(value)
        # YAML 1.1 takes 1e-05 for a string: a float there has a point.
        return text if "." in text else text.replace("e", ".0e")
    return ".nan" if math.isnan(value) else ".inf" if value > 0 else "-.inf"
