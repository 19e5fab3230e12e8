"""Runs whose files lie in a directory that is given, and in those below it, as SummaryWriter lays them out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from asynclog.inplace import in_place, run_place
from asynclog.process import RUNS
from asynclog_proto.messages import REJOINED

if TYPE_CHECKING:
    from asynclog.run import Run

LAUNCH = f"summary-writer{REJOINED}"
"""Every writer of a directory belongs to one launch: as with event files, what a later one logs is added."""

TIMEOUT_S = 30.0
"""What is waited for files at most."""

MOST_ENDING = 16
"""Runs whose end is not waited for: each has a ring and a thread."""

SMALL_RING = 1 << 20
"""Bytes: there may be many runs below a directory, each of one series."""


class LogDir:
    """The run in `path`, and one in each directory below it that was asked for. Each begins at its first use, and
    again at the first one after `close`, or in a forked child.
    """

    def __init__(self, path: str, backends: Mapping[str, Any], purge_step: int | None = None) -> None:
        self.path = path
        self._backends = backends
        self._purge_step = purge_step
        self._run: Run | None = None
        self._below: dict[str, Run] = {}
        self._ending: list[Run] = []
        """runs that have said all, and whose files may not be whole yet"""

    @property
    def is_open(self) -> bool:
        """Whether there is anything to close."""
        return self._run is not None

    def run(self) -> Run:
        """The directory's own run."""
        if self._run is None or self._run.is_forked:
            self._below.clear()
            self._ending.clear()
            self._run = _begin(self.path, self._backends)
            if self._purge_step is not None:
                self._run.rewind(self._purge_step)
                self._purge_step = None
        return self._run

    def below(self, name: str) -> Run:
        """The run in the directory `name`, which may have slashes."""
        self.run()
        run = self._below.get(name)
        if run is None:
            run = self._below[name] = self._begin_below(name)
        return run

    def log_whole(self, name: str, params: Mapping[str, Any], metrics: Mapping[str, Any], step: int) -> None:
        """A run of its own in the directory `name`, from its beginning to its end; `flush` waits for its files."""
        self.run()
        run = self._begin_below(name)
        run.params(params)
        run.log(metrics, step)
        run.begin_finish("success", TIMEOUT_S)
        self._ending.append(run)
        if len(self._ending) > MOST_ENDING:
            self._ending.pop(0).finish("success", TIMEOUT_S)

    def flush(self, timeout: float) -> None:
        """Wait until everything is in the files, `timeout` seconds at most; a warning says what is not."""
        if self._run is None:
            return
        deadline = time.monotonic() + timeout
        ending, self._ending = self._ending, []
        for run in ending:
            run.finish("success", max(0.0, deadline - time.monotonic()))
        for run in (self._run, *self._below.values()):
            run.flush(max(0.0, deadline - time.monotonic()))

    def close(self, status: str, timeout: float) -> None:
        """End all runs, and wait for their files."""
        if self._run is None:
            return
        runs = [*self._ending, *self._below.values(), self._run]
        self._run, self._below, self._ending = None, {}, []
        for run in runs:
            run.begin_finish(status, timeout)
        for run in runs:
            run.finish(status, timeout)

    def _begin_below(self, name: str) -> Run:
        options = {"tensorboard": self._backends.get("tensorboard", {})}
        current = RUNS.current
        try:
            return _begin(os.path.join(self.path, name), options, SMALL_RING)  # noqa: PTH118 - a str
        finally:
            RUNS.current = current  # `asynclog.log()` means the directory's own run


def _begin(path: str, backends: Mapping[str, Any], ring_bytes: int | None = None) -> Run:
    from asynclog.opening import open_run

    where = run_place(path)
    run = open_run(
        where.project,
        where.name,
        None,
        where.dir,
        in_place(backends),
        0,
        1,
        None,
        "auto",
        strict=False,
        launch_id=LAUNCH,
        ring_bytes=ring_bytes,
    )
    run.expect_steps_to_go_back()  # each tag has its own
    return run
