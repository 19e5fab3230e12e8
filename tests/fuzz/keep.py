"""Takes into the corpus what it lacks: `python -m tests.fuzz.keep FOLDER [TARGET]...`.

FOLDER/TARGET holds what a fuzzer has learnt. Smallest first, an input is kept when it goes from one line of ours to
another that none before it went.
"""

from __future__ import annotations

import hashlib
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from tests.fuzz.__main__ import CORPUS
from tests.fuzz.targets import TARGETS, Target

ROOT = Path(__file__).parents[2]
OURS = tuple(str(ROOT / folder) + "/" for folder in ("asynclog", "daemon/asynclogd", "proto/asynclog_proto"))
MOST_BYTES = 40_000
"""Of one target's corpus."""

Arc = tuple[str, int, int]


class Arcs:
    """Which lines of ours have followed each other."""

    def __init__(self) -> None:
        self.seen: set[Arc] = set()

    def trace(self, frame: FrameType, event: str, _: Any) -> Callable[..., Any] | None:
        """For `sys.settrace`."""
        code = frame.f_code.co_filename
        return self._in(code) if event == "call" and code.startswith(OURS) else None

    def _in(self, code: str) -> Callable[..., Any]:
        before = 0

        def line(frame: FrameType, event: str, _: Any) -> Callable[..., Any]:
            nonlocal before
            if event == "line":
                self.seen.add((code, before, frame.f_lineno))
                before = frame.f_lineno
            return line

        return line


def keep(target: Target, learnt: Path) -> tuple[int, int]:
    """How many inputs were looked at, and how many were taken."""
    arcs, corpus = Arcs(), CORPUS / target.name
    kept = sorted(corpus.iterdir())
    room = MOST_BYTES - sum(file.stat().st_size for file in kept)
    threading.settrace(arcs.trace)
    with target.opened() as run:
        sys.settrace(arcs.trace)
        for file in kept:
            run(file.read_bytes())
        files = sorted(learnt.iterdir(), key=lambda file: (file.stat().st_size, file.name))
        taken = 0
        for file in files:
            data, before = file.read_bytes(), len(arcs.seen)
            run(data)
            if len(arcs.seen) > before and len(data) <= room:
                (corpus / hashlib.sha256(data).hexdigest()[:16]).write_bytes(data)
                room, taken = room - len(data), taken + 1
        sys.settrace(None)
    threading.settrace(None)
    return len(files), taken


def main() -> None:
    """Says what was taken."""
    folder, *names = sys.argv[1:]
    for name in names or TARGETS:
        looked_at, taken = keep(TARGETS[name], Path(folder) / name)
        print(f"{name}: {taken} of {looked_at}")


if __name__ == "__main__":
    main()
