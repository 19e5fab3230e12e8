"""The ranks of `asynclog bench`: processes of asynclog.trial, which go on when they are told to."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from asynclog_proto.errors import AsynclogError


@dataclass(frozen=True)
class Load:
    """`ranks` processes log rows of `names` floats, `rate` a second each, for `seconds`."""

    names: int
    ranks: int
    rate: float
    seconds: float

    @property
    def steps(self) -> int:
        """Rows of a rank."""
        return max(1, round(self.rate * self.seconds))


@contextmanager
def running(load: Load, endpoint: str, folder: str) -> Iterator[list[subprocess.Popen[str]]]:
    """Its ranks, for the daemon at `endpoint`; killed on the way out."""
    command = [sys.executable, "-m", "asynclog.trial", str(load.names), str(load.steps), str(load.rate)]
    environ = {**os.environ, "ASYNCLOG_ENDPOINT": endpoint, "ASYNCLOG_DIR": folder, "WORLD_SIZE": str(load.ranks)}
    environ["ASYNCLOG_MODE"] = "auto"
    ranks = [
        subprocess.Popen(
            command,
            env={**environ, "RANK": str(rank)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # Ctrl-C is for us, who end them
        )
        for rank in range(load.ranks)
    ]
    try:
        yield ranks
    finally:
        for rank in ranks:
            rank.kill()
            rank.communicate()


def answers_of(ranks: Sequence[subprocess.Popen[str]]) -> list[str]:
    """The next line of each. Raises AsynclogError when one ended before."""
    lines = [_file(rank.stdout).readline() for rank in ranks]
    if not all(lines):
        raise AsynclogError("a rank of the benchmark ended before it was done: what it says is above")
    return lines


def go_on(ranks: Sequence[subprocess.Popen[str]]) -> None:
    """Give each the line that it waits for."""
    for rank in ranks:
        _file(rank.stdin).write("\n")
        _file(rank.stdin).flush()


def _file(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None
    return pipe
