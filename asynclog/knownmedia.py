"""Media items whose like was written before, found and written: compiled where the wheel has it.

Between two calls a training leaves no cache as it was, and each function of Python that is entered costs 5 to 15 us.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from asynclog import hostarrays
from asynclog.compiled import extension

__all__ = ["Found", "Known", "Template", "find", "find_in_python", "key_of", "lay", "lay_in_python"]


class Template(NamedTuple):
    """A record that is there but for its step, its time and its body, or where that lies: `head`, the step (8 bytes),
    TAG, the time (8 bytes), `middle`, and the body; or, where that lies elsewhere, its position (8 bytes) and `end`.
    """

    head: bytes
    middle: bytes
    end: bytes
    length: int
    """bytes of the record, with the body where that is in it"""
    size: int
    """bytes of the body"""
    laid: int
    """those of them that lie elsewhere, all or none"""


TAG = b"\xcb"
"""Ahead of the time: a double, in MessagePack."""

Found = tuple[Template, Any, Any, Any]
"""An item's template, its name, itself, its array."""

Known = tuple[list[Found], int, int]
"""A call's items, the `length` of all of them, and what is `laid` of all of them."""

_SIMPLE = frozenset((str, int, float, type(None)))


def find_in_python(templates: dict[Any, Template], alike: frozenset[type], metrics: Mapping[Any, Any]) -> Known | None:
    """The templates of a call's items, by name, type, the array's dtype and shape, options; None unless each has one.

    Items of the types `alike` keep their array first and then their options.
    """
    if type(metrics) is not dict or not metrics:
        return None
    items, length, laid = [], 0, 0
    for name, item in metrics.items():
        template = templates.get(key_of(name, item)) if type(item) in alike else None
        if template is None:
            return None
        items.append((template, name, item, next(iter(item.__dict__.values()))))
        length, laid = length + template.length, laid + template.laid
    return items, length, laid


def key_of(name: Any, item: Any) -> tuple[Any, ...] | None:
    """What a template is kept by; None for an item that has none."""
    array, *options = item.__dict__.values()
    if not _SIMPLE.issuperset(map(type, options)):
        return None
    return (name, type(item), hostarrays.look(array), *options)


def lay_in_python(
    known: Known, step: int, time: float, data: memoryview, place: int, memory: memoryview, at: int, position: int
) -> bool:
    """Write a call's records to `data` from `place` on, one behind the other, and the bodies that lie elsewhere to
    `memory` from `at` on, which is called `position`. False, and nothing of worth done, where there is no room, or an
    array is not what it was when it was found.
    """
    items, length, laid = known
    if not (0 <= place <= len(data) - length and 0 <= at <= len(memory) - laid):
        return False
    for (head, middle, end, length, size, laid), _, _, array in items:
        start = b"".join((head, struct.pack(">Q", step), TAG, struct.pack(">d", time), middle))
        if laid:
            start += struct.pack(">Q", position) + end
        data[place : place + len(start)] = start
        to, where = (memory, at) if laid else (data, place + len(start))
        if not hostarrays.copy(array, to, where, size):
            return False
        place, at, position = place + length, at + laid, position + laid
    return True


_compiled = extension("_knownmedia")
find: Callable[[dict[Any, Template], frozenset[type], Mapping[Any, Any]], Known | None] = (
    find_in_python if _compiled is None else _compiled.find
)
lay: Callable[[Known, int, float, memoryview, int, memoryview, int, int], bool] = (
    lay_in_python if _compiled is None else _compiled.lay
)
