"""Names as SwanLab takes them. A series: at most 512 characters, none of them a control character, not beginning or
ending with a space, `.` or `/`, nor with `__swanlab__.`, which are its own. A project: at most 100 of A-Z, a-z, 0-9 and
`_ - + .`.

Others are spelt `_0x<hex>_`: `.hidden` is `_0x2e_hidden`. No two names become one, and `meant` undoes it, but for those
that are longer, which are cut and end in a hash.
"""

from __future__ import annotations

import hashlib
import re

LIMIT = 512
PROJECT_LIMIT = 100

_ESCAPE = re.compile(r"_0x([0-9a-f]+)_")
_FOREIGN = re.compile(r"[\x00-\x1f\x7f]|_(?=0x)|^_(?=_swanlab__\.)|^[ ./]+|[ ./]+$")
_FOREIGN_PROJECT = re.compile(r"[^0-9a-zA-Z_\-+.]|_(?=0x)")


def spelt(name: str) -> str:
    """The key of the series `name`."""
    return _cut(_FOREIGN.sub(_hex, name), name, LIMIT)


def project_spelt(name: str) -> str:
    """The project's name."""
    return _cut(_FOREIGN_PROJECT.sub(_hex, name), name, PROJECT_LIMIT)


def meant(key: str) -> str:
    """The name that is spelt `key`."""
    return _ESCAPE.sub(lambda found: chr(int(found[1], 16)), key)


def _hex(found: re.Match[str]) -> str:
    return "".join(f"_0x{ord(each):x}_" for each in found[0])


def _cut(key: str, name: str, limit: int) -> str:
    if len(key) <= limit:
        return key
    digest = hashlib.sha256(name.encode()).hexdigest()[:16]
    return f"{key[: limit - len(digest) - 4]}_0x_{digest}"
