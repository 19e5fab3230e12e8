"""Keys of W&B's history. W&B takes any; its own begin with `_` and have no charts, and `step` is the axis of ours.

A series of such a name is shown as `series/<name>`, and one that is called so already as `series/series/...`: no two
become one.
"""

from __future__ import annotations

import re

STEP = "step"
"""The key that every row has the training's step under: what `define_metric` makes the axis of all others."""

_PREFIX = "series/"
_FORBIDDEN = re.compile(r"[/\\#?%:\s\x00-\x1f]")
_LONGEST_PROJECT = 128


def spelt(name: str) -> str:
    """The key of the series `name`."""
    taken = name == STEP or name.startswith(("_", _PREFIX)) or not name
    return utf8(_PREFIX + name if taken else name)


def utf8(text: str) -> str:
    """A text as protobufs take it: a lone surrogate, which is no character, by its number."""
    return text.encode("utf-8", "backslashreplace").decode()


def meant(key: str) -> str:
    """The series whose key is `key`."""
    return key.removeprefix(_PREFIX)


def project_name(name: str) -> str:
    """A project's name as W&B takes it: at most 128 characters, none of `/\\#?%:` (docs, "Projects")."""
    return _FORBIDDEN.sub("-", name)[:_LONGEST_PROJECT]
