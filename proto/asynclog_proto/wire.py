"""MessagePack with limits: the only place where bytes become objects.

msgpack's C decoder recurses at most 512 deep by itself; `check_depth` holds us to far less.
"""

from __future__ import annotations

from typing import Any

import msgpack

from asynclog_proto.errors import LimitError, ProtocolError
from asynclog_proto.limits import MAX_DEPTH, MAX_NAMES_PER_ROW, MAX_RECORD_BYTES


def pack(value: object) -> bytes:
    """Encode `value` (None, bool, int, float, str, bytes, lists and dicts of those) as MessagePack."""
    packed: bytes = msgpack.packb(value, use_bin_type=True)
    return packed


def unpack(data: bytes | memoryview, *, max_bytes: int = MAX_RECORD_BYTES) -> Any:
    """Decode exactly one MessagePack object.

    Raises LimitError when it is larger or deeper than allowed, ProtocolError when it is malformed.
    """
    if len(data) > max_bytes:
        raise LimitError(f"{len(data)} bytes where at most {max_bytes} are allowed")
    try:
        value = msgpack.unpackb(
            data,
            raw=False,
            strict_map_key=True,
            max_str_len=max_bytes,
            max_bin_len=max_bytes,
            max_array_len=MAX_NAMES_PER_ROW,
            max_map_len=MAX_NAMES_PER_ROW,
            max_ext_len=0,
        )
    except (ValueError, msgpack.UnpackException, UnicodeDecodeError, RecursionError) as error:
        raise ProtocolError(f"not one MessagePack object: {error or type(error).__name__}") from error
    check_depth(value, MAX_DEPTH)
    return value


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


def object_size(data: memoryview) -> int:
    """Bytes of the MessagePack object at the start of `data`; ProtocolError when it is cut short or malformed.

    Looks at a little first and at more only when that is not enough: a batch of many small records costs
    what its bytes cost.
    """
    window = 4096
    while True:
        size = _try_size(data[: min(window, MAX_RECORD_BYTES)])
        if size:
            return size
        if window >= min(len(data), MAX_RECORD_BYTES):
            raise ProtocolError("a record is cut short")
        window *= 16


def _try_size(data: memoryview) -> int:
    reader = msgpack.Unpacker(
        max_buffer_size=max(len(data), 1),
        max_str_len=MAX_RECORD_BYTES,
        max_bin_len=MAX_RECORD_BYTES,
        max_array_len=MAX_NAMES_PER_ROW,
        max_map_len=MAX_NAMES_PER_ROW,
        max_ext_len=0,
    )
    reader.feed(data)
    try:
        reader.skip()
    except msgpack.OutOfData:
        return 0
    except (ValueError, msgpack.UnpackException, RecursionError) as error:
        raise ProtocolError(f"a record is malformed: {error or type(error).__name__}") from error
    return int(reader.tell())
