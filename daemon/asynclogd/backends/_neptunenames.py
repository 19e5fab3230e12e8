"""Paths of attributes as Neptune takes them: namespaces between slashes, at most 1,024 bytes
(neptune_scale/sync/parameters.py, MAX_ATTRIBUTE_PATH_LENGTH). Empty namespaces, spaces at the ends and control
characters are spelt otherwise.
"""

from __future__ import annotations

import re

from asynclogd.backends._spelling import Spelling, utf8

ROOM = 64
"""Bytes for what stands before a name."""

_FOREIGN = re.compile(r"^/|(?<=/)/|/$|^ | $|[\x00-\x1f\x7f\u0085\u2028\u2029\ud800-\udfff]")

spelt = Spelling(_FOREIGN, 1024 - ROOM, utf8).spelt


def late(path: str, pile: int) -> str:
    """Where points of the series `path` go that came too late for it; pile 0 is the series itself."""
    return f"late/{pile}/{path}" if pile else path
