"""Configurations of any make, flattened to what params and summary records hold."""

from __future__ import annotations

import dataclasses
import enum
from argparse import Namespace
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from asynclog_proto import wire
from asynclog_proto.limits import MAX_NAME_BYTES, MAX_NAMES_PER_ROW, MAX_TEXT_BYTES
from asynclog_proto.records import Params, Scalar, Summary, encode

MAX_NESTING = 16


def flatten(values: Any, tell: Callable[[str], None]) -> dict[str, Scalar]:
    """Names joined by `/`, values made None, bool, int, float or str.

    Raises TypeError when `values` is no mapping, dataclass or Namespace.
    """
    if _children(values) is None:
        raise TypeError(f"a mapping, a dataclass or an argparse.Namespace is wanted, not {type(values).__name__}")
    flat: dict[str, Scalar] = {}
    for name, value in _leaves(values, "", 0):
        problem = _name_problem(name)
        if problem:
            tell(problem)
        else:
            flat[name] = _scalar(name, value, tell)
    return flat


def encode_all(kind: type[Params | Summary], flat: Mapping[str, Scalar], max_bytes: int) -> Iterator[bytes]:
    """The values in one record, or in several of at most about `max_bytes`."""
    part: dict[str, Scalar] = {}
    size = 0
    for name, value in flat.items():
        cost = len(wire.pack([name, value]))
        if part and (size + cost > max_bytes - 64 or len(part) >= MAX_NAMES_PER_ROW):
            yield encode(kind(part))
            part, size = {}, 0
        part[name] = value
        size += cost
    if part:
        yield encode(kind(part))


def _children(value: Any) -> Mapping[Any, Any] | None:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, Namespace):
        return vars(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _leaves(value: Any, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    children = _children(value) if depth < MAX_NESTING else None
    if children is None:
        yield name, value
        return
    for key, child in children.items():
        key_text = str(key.value if isinstance(key, enum.Enum) else key)
        yield from _leaves(child, f"{name}/{key_text}" if name else key_text, depth + 1)


def _name_problem(name: str) -> str:
    try:
        size = len(name.encode())
    except UnicodeEncodeError:
        return f"the parameter {name[:50]!a} is left out: its name holds a lone surrogate"
    if not 0 < size <= MAX_NAME_BYTES:
        return f"the parameter {name[:50]!r} is left out: a name has 1 to {MAX_NAME_BYTES} bytes, not {size}"
    return ""


def _scalar(name: str, value: Any, tell: Callable[[str], None]) -> Scalar:
    if isinstance(value, enum.Enum):
        value = value.value
    kind = type(value)
    if value is None or kind in {bool, float}:
        return value  # type: ignore[no-any-return]
    if isinstance(value, float):
        return float(value)
    if isinstance(value, int) and -(1 << 63) <= value < 1 << 63:
        return int(value)
    if hasattr(value, "item") and getattr(value, "shape", None) == ():
        item = _item(value)
        if item is not None:
            return _scalar(name, item, tell)
    return _text(name, value, tell)


def _item(value: Any) -> bool | int | float | None:
    item = value.item()
    return item if isinstance(item, (bool, int, float)) and not hasattr(item, "shape") else None


def _text(name: str, value: Any, tell: Callable[[str], None]) -> str:
    try:
        data = str(value).encode(errors="replace")
    except Exception as error:  # a foreign __str__ may do anything
        tell(f"the parameter {name!r} of type {type(value).__name__} has no text: {error}")
        return f"<{type(value).__name__}>"
    if len(data) > MAX_TEXT_BYTES:
        tell(f"the parameter {name!r} is cut: its text takes {len(data)} bytes, {MAX_TEXT_BYTES} are allowed")
        data = data[:MAX_TEXT_BYTES]
    return data.decode(errors="ignore")
