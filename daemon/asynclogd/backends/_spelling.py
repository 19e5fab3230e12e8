"""Names as a product takes them: what it would not take is spelt `_0x<hex>_`, and no two names become one.

`meant` undoes it, but for names that were too long: those are cut and end in a hash.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass

_ESCAPE = re.compile(r"_0x([0-9a-f]+)_")
_HASH_DIGITS = 16


@dataclass(frozen=True, slots=True)
class Spelling:
    """`foreign` matches what is not taken (one character at a time); `limit` is the longest name, by `measure`."""

    foreign: re.Pattern[str]
    limit: int
    measure: Callable[[str], int] = len

    def spelt(self, name: str) -> str:
        """The name in the product."""
        key = self.foreign.sub(hexed, re.sub("_(?=0x)", hexed, name))
        if self.measure(key) <= self.limit:
            return key
        tail = "_0x_" + hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_HASH_DIGITS]
        while self.measure(key) + len(tail) > self.limit:
            key = key[: -max(1, (self.measure(key) + len(tail) - self.limit) // 4)]
        return key + tail


def meant(key: str) -> str:
    """The name that is spelt `key`."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), key)


def utf8(text: str) -> int:
    """Bytes of it."""
    return len(text.encode("utf-8", "surrogatepass"))


def hexed(found: re.Match[str]) -> str:
    """How one character is spelt."""
    return f"_0x{ord(found[0]):x}_"
