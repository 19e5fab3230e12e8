"""A history row as the bytes of its protobuf, put together from templates: a fraction of what the protobuf's own class
costs, and rows are nearly all that is written.

    Record { num = 1, history = 2 { item = 1 { nested_key = 2, value_json = 16 } ..., step = 2 { num = 1 } } }

Field numbers are asked of the SDK.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_VARINT, _BYTES = 0, 2


class RowFormat:
    """How rows are spelt. A `head` is what a key is in a row, made once."""

    def __init__(self, proto: Any) -> None:
        """`proto` is wandb.proto.wandb_internal_pb2."""
        record, history = proto.Record.DESCRIPTOR, proto.HistoryRecord.DESCRIPTOR
        item, step = proto.HistoryItem.DESCRIPTOR, proto.HistoryStep.DESCRIPTOR
        self._num = _tag(record, "num", _VARINT)
        self._history = _tag(record, "history", _BYTES)
        self._item = _tag(history, "item", _BYTES)
        self._step = _tag(history, "step", _BYTES)
        self._step_num = _tag(step, "num", _VARINT)
        self._key = _tag(item, "nested_key", _BYTES)
        self._value = _tag(item, "value_json", _BYTES)

    def head(self, key: str) -> bytes:
        """A key and the tag of its value."""
        return self._key + _sized(key.encode()) + self._value

    def record(self, num: int, row: int, heads: Sequence[bytes], texts: Sequence[bytes]) -> bytes:
        """A row's record; `texts` are the values as JSON."""
        tag, parts = self._item, list[bytes]()
        for head, text in zip(heads, texts, strict=True):
            length = len(text)
            size = _LENGTHS[length] if length < _KEPT else varint(length)
            whole = len(head) + len(size) + length
            parts += (tag, _LENGTHS[whole] if whole < _KEPT else varint(whole), head, size, text)
        parts.append(self._step + _sized(self._step_num + varint(row)))
        return self._num + varint(num) + self._history + _sized(b"".join(parts))


def varint(number: int) -> bytes:
    """A whole number from 0 as protobuf spells it."""
    found = bytearray()
    while number >= 128:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


_KEPT = 1024
_LENGTHS = tuple(varint(number) for number in range(_KEPT))


def _sized(data: bytes) -> bytes:
    return varint(len(data)) + data


def _tag(message: Any, name: str, kind: int) -> bytes:
    return varint(message.fields_by_name[name].number << 3 | kind)
