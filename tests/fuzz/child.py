"""One target under atheris, in a process of its own: `python -m tests.fuzz.child TARGET FRAMES [libFuzzer's options]`.

Prints a line of JSON now and then and at the end, and leaves when it has seen so many frames. A finding ends it as
libFuzzer has it: with a traceback, the input in a file, and exit code 77.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time

import atheris
import psutil

from tests.fuzz.targets import TARGETS, Run, Target

PROGRESS_SECONDS = 1.0

INSTRUMENTED = ["asynclog", "asynclog_proto", "asynclogd"]


class Counted:
    """A target that counts, says so, and leaves the process when that was enough."""

    def __init__(self, target: Target, run: Run, enough: int, leave: contextlib.ExitStack) -> None:
        self._target, self._run, self._enough, self._leave = target, run, enough, leave
        self._frames = self._executions = 0
        self._process = psutil.Process()
        self._begun = self._said = time.monotonic()
        self._peak = 0

    def __call__(self, data: bytes) -> None:
        """One input."""
        self._run(data)
        self._executions += 1
        self._frames += self._target.frames(data)
        now = time.monotonic()
        if self._frames >= self._enough or now - self._said > PROGRESS_SECONDS:
            self._said = now
            self._say(now)
        if self._frames >= self._enough:
            self._leave.close()
            os._exit(0)  # libFuzzer knows no end by frames

    def _say(self, now: float) -> None:
        self._peak = max(self._peak, self._process.memory_info().rss)
        told = {
            "executions": self._executions,
            "frames": self._frames,
            "seconds": round(now - self._begun, 3),
            "peak_bytes": self._peak,
        }
        print(json.dumps(told), flush=True)


def main() -> None:
    """The process."""
    name, enough, *options = sys.argv[1:]
    target = TARGETS[name]
    with contextlib.ExitStack() as stack:
        with atheris.instrument_imports(include=INSTRUMENTED):
            run = stack.enter_context(target.opened())
        counted = Counted(target, run, int(enough), stack)
        atheris.Setup([sys.argv[0], f"-max_len={target.longest}", *options], counted)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
