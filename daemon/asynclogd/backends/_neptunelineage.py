"""Which of Neptune's runs has which steps. A run that is resumed at step n is forked there, Neptune's own way: the fork
has the steps from n on, and inherits what its parent has before. What the parent has from n on is superseded, and stays
the parent's.

    0 ──────────┬···········   superseded from 12 on
                └ 1 ──┬·····   forked at 12, superseded from 20 on
                      └ 2 ──   forked at 20
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from asynclogd.backends._neptunedb import RunDb

Make = Callable[[int, tuple[str, int] | None, Sequence[int] | None], RunDb]
"""The run of a generation, its fork point, where it is to go on."""


class Lineage:
    """The runs that count, the oldest first: each with the first step that is its own."""

    def __init__(self, make: Make, position: Sequence[Sequence[int]] | None) -> None:
        """Open those of a position, or begin the first one."""
        self._make = make
        self._runs: list[tuple[int, int, RunDb]] = []
        for generation, start, *where in position or [[0, 0]]:
            self._runs.append((generation, start, make(generation, self._fork(start), where or None)))

    @property
    def last(self) -> RunDb:
        """The run that goes on: what has no step is its own."""
        return self._runs[-1][2]

    def owner(self, step: int) -> RunDb:
        """The run that a step is of: of the last that began at or before it."""
        return next((run for _, start, run in reversed(self._runs) if start <= step), self._runs[0][2])

    def rewind(self, step: int, generation: int) -> None:
        """Go on in a fork that has the steps from `step` on; what was taken before is flushed. Raises OSError."""
        kept = [each for each in self._runs if each[1] < step]
        for _, _, run in self._runs[len(kept) :]:
            run.close()
        self._runs = kept
        self._runs.append((generation, max(0, step), self._make(generation, self._fork(step), None)))

    def flush(self) -> list[list[int]]:
        """Everything taken is durable: the position."""
        return [[generation, start, *run.flush()] for generation, start, run in self._runs]

    def close(self) -> None:
        """Let go of all."""
        for run in self:
            run.close()

    def __iter__(self) -> Iterator[RunDb]:
        return (run for _, _, run in self._runs)

    def _fork(self, start: int) -> tuple[str, int] | None:
        """Of whom, and after which step, a run is forked that begins at `start`; None for one without a parent."""
        return (self.owner(start - 1).run_id, start - 1) if self._runs and start > 0 else None


def folder(directory: Path, generation: int) -> Path:
    """Where the run of a generation is."""
    return directory / f"run-{generation}"
