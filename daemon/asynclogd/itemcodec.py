"""Items as the bytes that a journal keeps. docs/journal.md gives the format.

A blob is a kind and a body: for Points a fixed head and then the arrays as they lie in memory, little-endian;
for the rest MessagePack. Names are not in it: a table's head has the number of its layout, which the journal
keeps once. Decoding is strict: every byte has one meaning, none is left over.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclog_proto import wire
from asynclog_proto.errors import ProtocolError
from asynclog_proto.records import STATUSES
from asynclogd.points import Blob, Item, Lost, Media, Params, Points, Rewind, RunEnd, Summary

POINTS, PARAMS, SUMMARY, REWIND, END, MEDIA = 1, 2, 3, 4, 5, 6

HEAD = struct.Struct("<BBHIIIIIII")
"""kind, flags, 0, layout, k, m, world, generation, ranks when constant, logged when constant: 32 bytes, so that
the arrays behind it are aligned."""

REVISION, RANKS_TABLE, LOGGED_TABLE, HOLDERS_TABLE, HOST = 1, 2, 4, 8, 16

Number = Callable[[tuple[str, ...]], int]
Names = Callable[[int], tuple[str, ...]]


def encode(item: Item, number: Number) -> bytes:
    """An item's blob. `number` gives the number of a layout of names."""
    if isinstance(item, Points):
        return _encode_points(item, number(item.names))
    if isinstance(item, Media):
        return _encode_media(item)
    return wire.pack(_fields(item))


def _fields(item: Params | Summary | Rewind | RunEnd | Lost) -> list[Any]:
    if isinstance(item, Params):
        return [PARAMS, dict(item.values)]
    if isinstance(item, Summary):
        return [SUMMARY, dict(item.values)]
    if isinstance(item, Rewind):
        return [REWIND, item.step, item.generation]
    if isinstance(item, RunEnd):
        return [END, item.status]
    raise TypeError(f"not journaled: {item!r}")


def decode(blob: bytes, names: Names) -> Item:
    """The item of a blob; its arrays are read-only views of `blob`. `names` gives a layout by its number.

    Raises ProtocolError for anything that `encode` does not make.
    """
    if blob[:1] == b"\x01":
        return _decode_points(blob, names)
    fields = wire.unpack(blob, max_bytes=len(blob), max_elements=2 * len(blob))
    kind = fields[0] if isinstance(fields, list) and fields else None
    reader = _READERS.get(kind) if type(kind) is int else None
    if reader is None or len(fields) != reader[0]:
        raise ProtocolError(f"not an item: {blob[:16]!r}")
    item: Item = reader[1](*fields[1:])
    return item


def _encode_points(points: Points, layout: int) -> bytes:
    k, m = points.values.shape
    flags = REVISION * points.revision | HOST * points.host
    arrays: list[NDArray[Any]] = [
        np.ascontiguousarray(points.steps, "<i8"),
        np.ascontiguousarray(points.times, "<f8"),
        np.ascontiguousarray(points.values, "<f8"),
    ]
    ranks, logged = _constant(points.ranks), _constant(points.logged)
    if ranks is None:
        flags |= RANKS_TABLE
        arrays.append(np.ascontiguousarray(points.ranks, "<u4"))
    if logged is None:
        flags |= LOGGED_TABLE
        arrays.append(np.ascontiguousarray(points.logged, "<u4"))
    if points.holders is not None:
        flags |= HOLDERS_TABLE
        arrays.append(np.ascontiguousarray(points.holders, "<i4"))
    head = HEAD.pack(POINTS, flags, 0, layout, k, m, points.world, points.generation, ranks or 0, logged or 0)
    return b"".join([head, *(array.data for array in arrays)])


def _constant(table: NDArray[np.uint32]) -> int | None:
    """The one number that all cells are; None when they differ."""
    if table.size == 0:
        return 0
    first = table.flat[0]
    if any(table.strides) and (table != first).any():
        return None
    return int(first)


def _decode_points(blob: bytes, names: Names) -> Points:
    if len(blob) < HEAD.size:
        raise ProtocolError("a table of points is cut short")
    _, flags, zero, layout, k, m, world, generation, ranks, logged = HEAD.unpack_from(blob)
    if zero or flags & ~(REVISION | RANKS_TABLE | LOGGED_TABLE | HOLDERS_TABLE | HOST):
        raise ProtocolError("a table of points has unknown flags")
    tables = sum(bool(flags & flag) for flag in (RANKS_TABLE, LOGGED_TABLE, HOLDERS_TABLE))
    if len(blob) != HEAD.size + 16 * k + (8 + 4 * tables) * k * m:
        raise ProtocolError(f"a table of {k} steps by {m} series does not take {len(blob)} bytes")
    series = names(layout)
    if len(series) != m:
        raise ProtocolError(f"layout {layout} has {len(series)} names, a table of it {m} series")
    cells = _Cells(blob, k, m)
    return Points(
        names=series,
        steps=cells.take("<i8", k),
        times=cells.take("<f8", k),
        values=cells.table("<f8"),
        ranks=cells.table("<u4") if flags & RANKS_TABLE else constant(ranks, k, m),
        logged=cells.table("<u4") if flags & LOGGED_TABLE else constant(logged, k, m),
        world=world,
        generation=generation,
        revision=bool(flags & REVISION),
        holders=cells.table("<i4") if flags & HOLDERS_TABLE else None,
        host=bool(flags & HOST),
    )


class _Cells:
    """Takes one array after the other from a blob whose length has been checked."""

    def __init__(self, blob: bytes, k: int, m: int) -> None:
        self._blob, self._shape, self._at = blob, (k, m), HEAD.size

    def take(self, dtype: str, count: int) -> NDArray[Any]:
        array = np.frombuffer(self._blob, dtype, count, self._at) if count else np.empty(0, dtype)
        self._at += array.nbytes
        return array

    def table(self, dtype: str) -> NDArray[Any]:
        return self.take(dtype, self._shape[0] * self._shape[1]).reshape(self._shape)


def constant(number: int, k: int, m: int) -> NDArray[np.uint32]:
    """A (k, m) table of one number, in the memory of one number, read-only."""
    return np.broadcast_to(np.uint32(number), (k, m))


def _scalars(values: Any) -> dict[str, Any]:
    if not isinstance(values, dict):
        raise ProtocolError("params and summary are maps of name to value")
    for name, value in values.items():
        if not isinstance(name, str) or not (value is None or isinstance(value, (bool, int, float, str))):
            raise ProtocolError(f"not a name and its value: {name!r}")
    return values


def _encode_media(item: Media) -> bytes:
    blob = item.blob
    return wire.pack(
        [
            MEDIA, item.name, item.step, item.time, item.kind, item.form, dict(item.options),
            blob.digest, blob.segment, blob.offset, blob.size, item.rank, item.generation,
        ]
    )  # fmt: skip


def _media(*fields: Any) -> Media:
    name, step, time, kind, form, options, digest, *numbers = fields
    texts = (name, kind, form, digest)
    counts = (*numbers, step)
    if not all(type(text) is str for text in texts) or not all(type(count) is int for count in counts):
        raise ProtocolError("media have a name, a kind, a form and a digest as text, and whole numbers")
    if type(time) is not float or not isinstance(options, dict):
        raise ProtocolError("media have a time and a map of options")
    segment, offset, size, rank, generation = numbers
    return Media(name, step, time, kind, form, options, Blob(digest, segment, offset, size), rank, generation)


def _rewind(step: Any, generation: Any) -> Rewind:
    if type(step) is not int or type(generation) is not int:
        raise ProtocolError("a rewind has a step and a generation")
    return Rewind(step, generation)


def _end(status: Any) -> RunEnd:
    if status not in STATUSES:
        raise ProtocolError(f"a status is one of {', '.join(STATUSES)}, not {status!r}")
    return RunEnd(status)


_READERS: dict[int, tuple[int, Callable[..., Item]]] = {
    PARAMS: (2, lambda values: Params(_scalars(values))),
    SUMMARY: (2, lambda values: Summary(_scalars(values))),
    REWIND: (3, _rewind),
    END: (2, _end),
    MEDIA: (13, _media),
}
