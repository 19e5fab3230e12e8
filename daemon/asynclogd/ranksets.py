"""Sets of ranks as bits, one set a cell: NumPy arrays whose last axis is the words of a set."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

_POPULATION = np.array([byte.bit_count() for byte in range(256)], np.uint32)


def layout(world: int) -> tuple[np.dtype[np.unsignedinteger], int]:
    """The smallest (word dtype, number of words) that holds ranks 0 to world - 1."""
    for kind in (np.uint8, np.uint16, np.uint32):
        if world <= 8 * np.dtype(kind).itemsize:
            return np.dtype(kind), 1
    return np.dtype(np.uint64), -(-world // 64)


def place(rank: int, dtype: np.dtype[np.unsignedinteger]) -> tuple[int, np.unsignedinteger]:
    """The (index of the word, bit in it) of a rank."""
    word, bit = divmod(rank, 8 * dtype.itemsize)
    return word, dtype.type(1 << bit)


def of(ranks: Iterable[int], dtype: np.dtype[np.unsignedinteger], words: int) -> NDArray[np.unsignedinteger]:
    """One set (words,) of these ranks."""
    bits = np.zeros(words, dtype)
    for rank in ranks:
        word, bit = place(rank, dtype)
        bits[word] |= bit
    return bits


def sizes(bits: NDArray[np.unsignedinteger]) -> NDArray[np.uint32]:
    """How many ranks each set has: (..., words) to (...) uint32."""
    octets = np.ascontiguousarray(bits).view(np.uint8)
    counts = _POPULATION[octets]
    if octets.shape[-1] == 1:
        return counts[..., 0]
    total: NDArray[np.uint32] = counts.sum(-1, dtype=np.uint32)
    return total
