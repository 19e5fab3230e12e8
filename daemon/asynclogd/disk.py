"""What the writers of files have in common."""

from __future__ import annotations

import os
from pathlib import Path


def write_at(descriptor: int, data: bytes | memoryview, offset: int) -> int:
    """Write all of the bytes; how many they are. Raises OSError."""
    view, done = memoryview(data), 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], offset + done)
    return done


def sync_directory(path: Path) -> None:
    """Names that were made or changed in it survive power loss. Raises OSError."""
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
