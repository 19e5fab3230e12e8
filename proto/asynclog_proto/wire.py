"""MessagePack with limits: the only place where bytes become objects.

msgpack's C decoder checks each length against a limit, and recurses at most 512 deep by itself. What it lacks
is done by its hooks: a budget for all containers together (an empty array is one byte on the wire and 56 in
memory), maps with string keys and without duplicates, no extension types. `check_depth` holds us to MAX_DEPTH.
"""

from __future__ import annotations

import reprlib
from typing import Any, NoReturn

import msgpack

from asynclog_proto.errors import LimitError, ProtocolError
from asynclog_proto.limits import MAX_DEPTH, MAX_RECORD_BYTES

_MALFORMED = (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException)
"""What msgpack raises for bad bytes, in its C and in its Python form; UnicodeDecodeError is a ValueError."""

_LENGTHS = {f"max_{kind}_len": MAX_RECORD_BYTES for kind in ("str", "bin", "array", "map", "ext")}


def pack(value: object) -> bytes:
    """Encode `value` (None, bool, int, float, str, bytes, lists and dicts of those) as MessagePack.

    Raises ProtocolError for what MessagePack can't hold: other types, integers beyond 64 bits, text with lone
    surrogates, nesting without end.
    """
    try:
        packed: bytes = msgpack.packb(value, use_bin_type=True)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise ProtocolError(f"not a value that can travel: {shown(error)}") from error
    return packed


def unpack(data: bytes | memoryview, *, max_bytes: int = MAX_RECORD_BYTES, max_elements: int | None = None) -> Any:
    """Decode exactly one MessagePack object: None, bool, int, float, str, bytes, list, dict with str keys.

    Containers, items, keys and values are at most `max_elements` together; None allows one for 8 of `max_bytes`.
    Raises LimitError when it is larger or deeper than allowed, ProtocolError when it is malformed.
    """
    if len(data) > max_bytes:
        raise LimitError(f"{len(data)} bytes where at most {max_bytes} are allowed")
    budget = _Budget(max_bytes // 8 if max_elements is None else max_elements)
    longest = min(budget.left, len(data))
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_str_len=len(data),
            max_bin_len=len(data),
            max_array_len=longest,
            max_map_len=longest,
            max_ext_len=0,
            list_hook=budget.array,
            object_pairs_hook=budget.map,
            ext_hook=_no_extension,
        )
    except _MALFORMED as error:
        raise ProtocolError(f"not one MessagePack object: {shown(error)}") from error
    check_depth(value, MAX_DEPTH)
    return value


class _Budget:
    """What is left for the containers of one object."""

    __slots__ = ("left",)

    def __init__(self, elements: int) -> None:
        self.left = elements

    def _spend(self, elements: int) -> None:
        self.left -= elements
        if self.left < 0:
            raise LimitError("more values in one object than allowed")

    def array(self, items: list[Any]) -> list[Any]:
        self._spend(1 + len(items))
        return items

    def map(self, pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
        self._spend(1 + 2 * len(pairs))
        value = dict(pairs)
        if len(value) != len(pairs):
            raise ProtocolError("a map has a key twice")
        if not all(type(key) is str for key in value):
            raise ProtocolError("a map's keys are strings")
        return value


def _no_extension(code: int, data: bytes) -> NoReturn:
    raise ProtocolError(f"extension type {code} is not allowed ({len(data)} bytes)")


def check_depth(value: object, allowed: int) -> None:
    """Raise LimitError when containers nest deeper than `allowed`."""
    if isinstance(value, dict):
        children: Any = value.values()
    elif isinstance(value, list):
        children = value
    else:
        return
    if allowed == 0:
        raise LimitError(f"nested deeper than {MAX_DEPTH}")
    for child in children:
        if isinstance(child, (dict, list)):
            check_depth(child, allowed - 1)


def shown(value: object) -> str:
    """`value` for an error's text, in at most some hundred characters: a peer does not fill our log."""
    if isinstance(value, Exception):
        return (str(value) or type(value).__name__)[:200]
    return reprlib.repr(value)[:200]


def object_size(data: memoryview) -> int:
    """Bytes of the MessagePack object at the start of `data`; ProtocolError when cut short or malformed.

    Looks at a little first and at more only when that is not enough: a batch of many small records costs
    what its bytes cost.
    """
    window = 256
    while True:
        size = _try_size(data[: min(window, MAX_RECORD_BYTES)])
        if size:
            return size
        if window >= min(len(data), MAX_RECORD_BYTES):
            raise ProtocolError("a record is cut short or too long")
        window *= 16


def _try_size(data: memoryview) -> int:
    """The object's size, 0 when it goes on after `data`. Skipping makes no object: lengths only name the end."""
    reader = msgpack.Unpacker(max_buffer_size=max(len(data), 1), **_LENGTHS)
    reader.feed(data)
    try:
        reader.skip()
    except msgpack.OutOfData:
        return 0
    except _MALFORMED as error:
        raise ProtocolError(f"a record is malformed: {shown(error)}") from error
    return int(reader.tell())
