"""A fuzzer's one string of bytes as the several that a target takes. Any bytes can be split; `join` is its inverse."""

from __future__ import annotations

import struct
from collections.abc import Sequence

_LENGTH = struct.Struct(">H")
LONGEST = (1 << 16) - 1


def join(pieces: Sequence[bytes]) -> bytes:
    """Pieces of at most LONGEST bytes, each behind its length."""
    return b"".join(_LENGTH.pack(len(piece)) + piece for piece in pieces)


def split(data: bytes, most: int) -> list[bytes]:
    """At most `most` pieces. The last one that is cut short is what is there of it."""
    return take(data, most, 0)[0]


def take(data: bytes, most: int, at: int) -> tuple[list[bytes], int]:
    """The pieces that begin at `at`, and where the last one ends."""
    pieces: list[bytes] = []
    while len(pieces) < most and at + _LENGTH.size <= len(data):
        end = at + _LENGTH.size + _LENGTH.unpack_from(data, at)[0]
        pieces.append(data[at + _LENGTH.size : end])
        at = min(end, len(data))
    return pieces, at
