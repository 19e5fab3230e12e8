"""What a person is told: one warning per cause, never an exception in the training loop."""

from __future__ import annotations

import os
import sys
import threading
import warnings

PACKAGE = os.path.dirname(__file__) + os.sep  # noqa: PTH120 - pathlib costs 4 ms of a light import
_MOST = 1000


class AsynclogWarning(UserWarning):
    """Something was logged wrongly, or asynclog can't do its work; training goes on."""


class Notices:
    """Warnings, each key once. Safe from any thread; `say` is the only call that can raise, and only where
    the user's warning filter is `error`.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._seen: set[object] = set()
        self._waiting: list[str] = []
        # Where the run was begun, for what is told from a thread of ours, which has no caller.
        frame = sys._getframe(_depth_of_caller() - 1)  # noqa: SLF001 - as below
        self._begun = frame.f_code.co_filename, frame.f_lineno

    def add(self, key: object, text: str) -> None:
        """Keep `text` for the next `say`, unless `key` was told before."""
        with self._lock:
            if key in self._seen or len(self._seen) > _MOST:
                return
            self._seen.add(key)
            if len(self._seen) > _MOST:
                text = f"{_MOST} different warnings were given; no more follow for this run"
            self._waiting.append(text)

    def mute(self, key: object) -> None:
        """Never tell of `key`."""
        with self._lock:
            self._seen.add(key)

    def say(self) -> None:
        """Give what waits to `warnings.warn`, with the caller outside asynclog as its place."""
        if not self._waiting:
            return
        with self._lock:
            texts, self._waiting = self._waiting, []
        depth = _depth_of_caller()
        for text in texts:
            warnings.warn(f"asynclog: {text}", AsynclogWarning, stacklevel=depth)

    def say_quietly(self) -> None:
        """`say` for a thread of ours, which no warning filter may end; the place is where the run was begun."""
        if not self._waiting:
            return
        with self._lock:
            texts, self._waiting = self._waiting, []
        for text in texts:
            try:
                warnings.warn_explicit(f"asynclog: {text}", AsynclogWarning, *self._begun)
            except AsynclogWarning as warning:
                print(warning, file=sys.stderr)  # noqa: T201 - the last way to be heard


def _depth_of_caller() -> int:
    """The `stacklevel`, as seen from `say`, of the nearest frame that is not asynclog's."""
    depth, frame = 1, sys._getframe(1)  # noqa: SLF001 - warnings' own way; inspect.stack reads source files
    while frame.f_back is not None and frame.f_code.co_filename.startswith(PACKAGE):
        depth, frame = depth + 1, frame.f_back
    return depth
