"""Names as MLflow takes them: letters, digits, `_ - . : /` and spaces, at most 250, a clean relative path.

Others are spelt `_0x<hex>_`: `a@b` is `a_0x40_b`. No two names become one, and `spelt` can be undone by `meant`,
but for names over 250 characters, which are cut and end in a hash.
"""

from __future__ import annotations

import hashlib
import posixpath
import re

LIMIT = 250
_ESCAPE = re.compile(r"_0x([0-9a-f]+)_")
_FOREIGN = re.compile(r"[^/\w.\- :]|_(?=0x)")


def spelt(name: str) -> str:
    """The key under which MLflow keeps the series or parameter `name`."""
    key = _FOREIGN.sub(_hex, name)
    normal = posixpath.normpath(key)
    if normal != key or normal.startswith(("/", "..")) or normal == ".":
        key = re.sub(r"[/.]", _hex, key)
    if len(key) > LIMIT:
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        key = f"{key[: LIMIT - len(digest) - 4]}_0x_{digest}"
    return key


def meant(key: str) -> str:
    """The name that is spelt `key`."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), key)


def _hex(found: re.Match[str]) -> str:
    return f"_0x{ord(found[0]):x}_"
