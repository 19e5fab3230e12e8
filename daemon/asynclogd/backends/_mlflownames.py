"""Names as MLflow takes them: letters, digits, `_ - . : /` and spaces, at most 250, a clean relative path.

Others are spelt `_0x<hex>_`: `a@b` is `a_0x40_b`. No two names become one, and _spelling.py's `meant` undoes it,
but for names over 250 characters, which are cut and end in a hash.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from functools import lru_cache

from asynclogd.backends._spelling import hexed

LIMIT = 250
_FOREIGN = re.compile(r"[^/\w.\- :]|_(?=0x)")


@lru_cache(maxsize=4096)  # a quiet run asks for each name at each step
def spelt(name: str) -> str:
    """The key under which MLflow keeps the series or parameter `name`."""
    key = _FOREIGN.sub(hexed, name)
    normal = posixpath.normpath(key)
    if normal != key or normal.startswith(("/", "..")) or normal == ".":
        key = re.sub(r"[/.]", hexed, key)
    if len(key) > LIMIT:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        key = f"{key[: LIMIT - len(digest) - 4]}_0x_{digest}"
    return key
