"""The `.wandb` file, W&B's transaction log: protobuf records in LevelDB's log format, checksums by zlib's CRC-32.

    file   := ":W&B" magic:uint16 version:uint8 record*
    record := crc:uint32 length:uint16 type:uint8 data     (little-endian; type FULL, FIRST, MIDDLE or LAST)

No record's header crosses a block of 32 KiB, counted from the file's start: what is left there is filled with zeros,
and data that doesn't fit goes on in the next block. Everything follows from a record's place, so the file's length
is a position. Sources: LevelDB's doc/log_format.md; wandb/core, internal/transactionlog and pkg/leveldb.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from asynclogd.backends._files import AppendFile

HEADER = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)

_BLOCK = 1 << 15
_HEAD = struct.Struct("<IHB")
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4
_SEEDS = {kind: zlib.crc32(bytes([kind])) for kind in (_FULL, _FIRST, _MIDDLE, _LAST)}


class LogFile:
    """A log that grows at its end, opened at a length that `flush` returned (0: a new one)."""

    def __init__(self, path: Path, length: int, *, fsync: bool) -> None:
        self.path = path
        self._file = AppendFile(path, length, fsync=fsync)
        self.end = length
        """where the next record will begin"""
        if not length:
            self._append(HEADER)

    def append(self, data: bytes) -> None:
        """Take one record; it reaches the file with `flush`, or before."""
        for chunk in framed(data, self.end):
            self._append(chunk)

    def flush(self) -> int:
        """Write what was taken; the file's length. Raises OSError: flush again."""
        return self._file.flush()

    def close(self) -> None:
        """Let go of the file. Idempotent."""
        self._file.close()

    def _append(self, chunk: bytes) -> None:
        self._file.append(chunk)
        self.end += len(chunk)


def framed(data: bytes, at: int) -> Iterator[bytes]:
    """A record's bytes in a file whose length is `at`."""
    first, begun = True, 0
    while first or begun < len(data):
        room = _BLOCK - at % _BLOCK
        if room < _HEAD.size:
            yield b"\0" * room
            at, room = at + room, _BLOCK
        part = data[begun : begun + room - _HEAD.size]
        begun += len(part)
        kind = (_FULL if begun == len(data) else _FIRST) if first else (_LAST if begun == len(data) else _MIDDLE)
        yield _HEAD.pack(zlib.crc32(part, _SEEDS[kind]), len(part), kind) + part
        at, first = at + _HEAD.size + len(part), False


def records(path: Path, length: int) -> Iterator[bytes]:
    """The records in the first `length` bytes of a log. Raises ValueError where it is none."""
    with path.open("rb") as file:
        if file.read(len(HEADER)) != HEADER:
            raise ValueError(f"{path} is not a .wandb file")
        at, parts = len(HEADER), []
        while at < length:
            room = _BLOCK - at % _BLOCK
            if room < _HEAD.size:
                at += len(file.read(room))
                continue
            head = file.read(_HEAD.size)
            if len(head) < _HEAD.size:
                raise ValueError(f"{path} ends at {at}, in a record's header")
            crc, size, kind = _HEAD.unpack(head)
            part = file.read(size)
            if len(part) != size or kind not in _SEEDS or zlib.crc32(part, _SEEDS[kind]) != crc:
                raise ValueError(f"{path} is damaged at {at}")
            at += _HEAD.size + size
            parts.append(part)
            if kind in (_FULL, _LAST):
                yield b"".join(parts)
                parts = []
