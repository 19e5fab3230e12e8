"""A reference to media in a table, as a user follows it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from asynclogd.backends.base import RunInfo


def referred(run: RunInfo, row: Mapping[str, Any]) -> tuple[str, int, bytes]:
    """What a reference says, read by nothing but what it says."""
    with (run.dir / row["file"]).open("rb") as file:
        file.seek(int(row["offset"]))
        data = file.read(int(row["size"]))
    assert hashlib.blake2b(data, digest_size=16).hexdigest() == row["digest"]
    return row["name"], int(row["step"]), data
