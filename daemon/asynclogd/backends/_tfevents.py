"""The bytes of a TensorBoard event file: TFRecord frames around protobuf Events with scalars.

    frame    length u64 LE | masked crc32c of the length | event | masked crc32c of the event
    Event    1 wall_time double | 2 step varint | 5 summary, a message of repeated field 1:
    Value    1 tag string | 2 simple_value float

Source: tensorflow/core/lib/io/record_writer.h, tensorflow/core/util/event.proto and framework/summary.proto.

All rows of a table of scalars have the same bytes but for times, steps and values. So the bytes are built once per
tuple of names, repeated for all rows and patched by NumPy: about 5 ns a scalar where a message per value costs 49 us.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import google_crc32c
import numpy as np
from numpy.typing import NDArray

VERSION = b"\x1a\x0dbrain.Event:2"
"""Field 3, file_version: what the first event of a file says."""

_HEAD = 12
_FOOT = 4
_CHUNK = 1 << 22
_MASK_DELTA = 0xA282EAD8
_FLOAT = b"\x15\0\0\0\0"


def varint(number: int) -> bytes:
    """A protobuf varint of a number >= 0."""
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


def message(number: int, content: bytes) -> bytes:
    """A length-delimited protobuf field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def masked_crc(data: bytes) -> int:
    """CRC-32C of `data`, masked as TFRecord does: rotated right by 15 bits, plus a constant."""
    crc: int = google_crc32c.value(data)
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def frame(event: bytes) -> bytes:
    """One Event's bytes as a TFRecord."""
    return frame_head(len(event)) + event + struct.pack("<I", masked_crc(event))


def frame_head(length: int) -> bytes:
    """The 12 bytes ahead of an event of `length` bytes."""
    packed = struct.pack("<Q", length)
    return packed + struct.pack("<I", masked_crc(packed))


def events(data: bytes) -> Iterator[bytes]:
    """The Events of a file that is whole. Raises ValueError at one that is not, or when there is none."""
    at = 0
    while at < len(data) or not at:
        length = int.from_bytes(data[at : at + 8], "little")
        found = data[at + _HEAD : at + _HEAD + length]
        if data[at : at + _HEAD + length + _FOOT] != frame(found):
            raise ValueError(f"no whole event at byte {at}")
        yield found
        at += _HEAD + length + _FOOT


def event(wall_time: float, step: int, rest: bytes) -> bytes:
    """An Event with `rest` as its further fields, framed."""
    return frame(b"\x09" + struct.pack("<d", wall_time) + b"\x10" + varint(step & 0xFFFFFFFFFFFFFFFF) + rest)


def restart(wall_time: float, step: int) -> bytes:
    """A SessionLog START: TensorBoard discards what it has read of this run from `step` on."""
    return event(wall_time, step, message(7, b"\x08\x01"))


def scalar(tag: str, value: float) -> bytes:
    """The Event field of one scalar."""
    row = template([tag])
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        with_value: bytes = row.summary[:-4] + np.array(value).astype("<f4").tobytes()
    return with_value


@dataclass(frozen=True, slots=True)
class Template:
    """The summary of one row of scalars: its bytes with the values left zero, and where the values belong."""

    summary: bytes
    offsets: NDArray[np.intp]


def template(names: Sequence[str]) -> Template:
    """The template for rows of these names."""
    values = [message(1, name.encode("utf-8", "replace")) + _FLOAT for name in names]
    parts = [message(1, value) for value in values]
    ends = np.cumsum([len(part) for part in parts], dtype=np.intp)
    return Template(message(5, b"".join(parts)), ends + _summary_prefix(int(ends[-1])) - 4)


def _summary_prefix(length: int) -> int:
    return 1 + len(varint(length))


def scalar_events(
    row: Template, steps: NDArray[np.int64], times: NDArray[np.float64], values: NDArray[np.float64]
) -> list[memoryview]:
    """Frames of one Event a step: steps (k,), times (k,), values (k, m) with m the template's names.

    Values are stored as float32, what the format has: larger ones become infinite.
    """
    width = _step_width(steps)
    event_length = 9 + 1 + width + len(row.summary)
    line = frame_head(event_length) + b"\x09" + bytes(8) + b"\x10" + bytes(width) + row.summary + bytes(_FOOT)
    rows_per_chunk = max(1, _CHUNK // len(line))
    offsets = row.offsets + (_HEAD + 10 + width)
    blank = np.frombuffer(line, np.uint8)
    return [
        _fill(blank, width, offsets, steps[at:end], times[at:end], values[at:end])
        for at in range(0, len(steps), rows_per_chunk)
        for end in [at + rows_per_chunk]
    ]


def _fill(
    blank: NDArray[np.uint8],
    width: int,
    offsets: NDArray[np.intp],
    steps: NDArray[np.int64],
    times: NDArray[np.float64],
    values: NDArray[np.float64],
) -> memoryview:
    rows = np.empty((len(steps), len(blank)), np.uint8)
    rows[:] = blank
    rows[:, _HEAD + 1 : _HEAD + 9] = times.astype("<f8").view(np.uint8).reshape(-1, 8)
    rows[:, _HEAD + 10 : _HEAD + 10 + width] = _step_varints(steps, width)
    # Every offset of a row seen as a float32 that begins there: one unaligned store a value.
    shape = (len(steps), len(blank) - 3)
    floats: NDArray[np.float32] = np.ndarray(shape, "<f4", rows, strides=(len(blank), 1))
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        floats[:, offsets] = values
    crc = google_crc32c.value
    crcs = np.array([crc(row[_HEAD:-_FOOT]) for row in rows], np.uint64)
    masked = (((crcs >> 15) | (crcs << 17)) & 0xFFFFFFFF) + _MASK_DELTA
    rows[:, -_FOOT:] = masked.astype("<u4").view(np.uint8).reshape(-1, 4)
    return rows.data


def _step_width(steps: NDArray[np.int64]) -> int:
    """Bytes of the longest step. A shorter one is padded to it, which a varint allows."""
    if int(steps.min()) < 0:
        return 10
    return max(1, -(-int(steps.max()).bit_length() // 7))


def _step_varints(steps: NDArray[np.int64], width: int) -> NDArray[np.uint8]:
    shifts = np.arange(width, dtype=np.uint64) * np.uint64(7)
    groups = (steps.view(np.uint64)[:, None] >> shifts[None, :]) & np.uint64(0x7F)
    varints: NDArray[np.uint8] = groups.astype(np.uint8)
    varints[:, :-1] |= 0x80
    return varints
