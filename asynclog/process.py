"""The runs of this process, and how they end with it: return, exception, Ctrl-C, fork.

SIGTERM is not caught. A handler in Python would have to wait for the main thread, which may be in a collective that
never returns, and hold the GPUs until someone sends SIGKILL. The process dies at once as it would without us, the ring
stays, and the daemon delivers what is in it.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
import time
from collections import Counter
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from asynclog.run import Run

EXIT_TIMEOUT_S = 30.0
INTERRUPTED_TIMEOUT_S = 5.0
"""After Ctrl-C nobody wants to wait for long."""
REPEATED_TIMEOUT_S = 10.0
"""For a run that `init()` finds open in its own process."""


def status_of(error: type[BaseException]) -> str:
    """How a run ends that an exception ends."""
    return "interrupted" if issubclass(error, KeyboardInterrupt) else "failed"


class Process:
    """The open runs. One object exists, RUNS; everything here happens once, whatever the number of runs."""

    def __init__(self) -> None:
        self.current: Run | None = None
        self.spawning = threading.Lock()
        """Held while a daemon is started. A child that is forked meanwhile would have an end of the pipe by which
        `subprocess` learns that the daemon has begun, and whoever started it would wait for the child to end."""
        self._open: list[Run] = []
        self._expected: dict[Run, str] = {}
        self._unawaited: set[Run] = set()
        self._names: Counter[tuple[str, str]] = Counter()
        self._status = "success"
        self._forking: set[int] = set()
        """threads that fork, and hold `spawning`"""
        self._installed = False
        self._child = 0
        self._bootstrap: FrameType | None = None

    def add(self, run: Run) -> None:
        """A run begins: it is the current one, and will be finished with the process at the latest."""
        self.install()
        self.current = run
        self._open.append(run)
        if self._child != os.getpid():
            self._child = os.getpid()
            self._end_with_child()

    def install(self) -> None:
        """Be told of forks and of the process's end: before a run's sender starts, which may start a daemon."""
        if not self._installed:
            self._installed = True
            atexit.register(self._at_exit)
            os.register_at_fork(
                before=self._before_fork, after_in_parent=self._after_fork_in_parent, after_in_child=self._after_fork
            )
            self._chain_excepthook()

    def remove(self, run: Run) -> None:
        """A run is finished."""
        if run in self._open:
            self._open.remove(run)
        self._expected.pop(run, None)
        self._unawaited.discard(run)

    def end_earlier(self, run_dir: Path, rank: int) -> bool:
        """End the run of this rank there, if it is open: a notebook's cell is executed again. Whether it was."""
        earlier = [run for run in self._open if run.dir == run_dir and run.rank == rank]
        for run in earlier:
            run.finish(self._status_of(run, "success"), REPEATED_TIMEOUT_S)
        return bool(earlier)

    def expect(self, run: Run, status: str) -> None:
        """The status of `run` if the process returns while it is open; "success" where nothing is said.

        Frameworks tell of a training's end, but seldom of an exception, which their caller may have caught.
        """
        self._expected[run] = status

    def wait_no_more(self, run: Run) -> None:
        """Whoever ends the process has had enough of waiting for it: its end does not wait again."""
        self._unawaited.add(run)

    def unique(self, project: str, name: str) -> str:
        """A default name, with -2, -3 and so on when this process has used it already."""
        self._names[project, name] += 1
        count = self._names[project, name]
        return name if count == 1 else f"{name}-{count}"

    def finish_all(self, status: str, timeout: float) -> None:
        """Finish every open run, all within one `timeout`."""
        runs = list(self._open)
        deadline = time.monotonic() + timeout
        for run in runs:
            run.begin_finish(self._status_of(run, status), timeout, quietly=True)
        for run in runs:
            if run in self._unawaited:
                continue
            run.finish(self._status_of(run, status), max(0.0, deadline - time.monotonic()))

    def _status_of(self, run: Run, status: str) -> str:
        return self._expected.get(run, status) if status == "success" else status

    # ---- the ways out -------------------------------------------------------------------------------------------

    def _at_exit(self) -> None:
        if sys.version_info >= (3, 13) and self._status == "success" and _exit_code_of_child(self._bootstrap):
            self._status = "failed"
        timeout = INTERRUPTED_TIMEOUT_S if self._status == "interrupted" else EXIT_TIMEOUT_S
        # A second Ctrl-C, or SIGTERM that the script makes an exit: the rings stay, and the daemon reads them.
        with contextlib.suppress(KeyboardInterrupt, SystemExit):
            self.finish_all(self._status, timeout)

    def _end_with_child(self) -> None:
        """A child of multiprocessing has no excepthook, and a forked one no atexit, but finalizers of its own."""
        process = sys.modules.get("multiprocessing.process")
        if process is None or process.parent_process() is None:
            return
        from multiprocessing.util import Finalize

        if sys.version_info >= (3, 13):
            self._bootstrap = _frame_below("multiprocessing.process", "_bootstrap")

        def end() -> None:
            error = sys.exc_info()[1]  # up to Python 3.12 it is on its way through multiprocessing's `finally`
            if error is not None and not (isinstance(error, SystemExit) and error.code in {None, 0}):
                self._status = status_of(type(error))
            self._at_exit()

        Finalize(self, end, exitpriority=0)

    def _chain_excepthook(self) -> None:
        previous = sys.excepthook

        def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            self._status = status_of(kind)
            previous(kind, error, trace)

        sys.excepthook = note

    def _before_fork(self) -> None:
        self.spawning.acquire()
        self._forking.add(threading.get_ident())

    def _after_fork_in_parent(self) -> None:
        if threading.get_ident() in self._forking:  # Ctrl-C may have ended the wait, and a fork goes on all the same
            self._forking.discard(threading.get_ident())
            self.spawning.release()

    def _after_fork(self) -> None:
        """In the child: its copies of the runs are inert, and it ends as if they were not there."""
        self.spawning, self._forking = threading.Lock(), set()
        for run in self._open:
            run.after_fork()
        self._open.clear()
        self._expected.clear()
        self._unawaited.clear()
        self._status = "success"


def _exit_code_of_child(bootstrap: FrameType | None) -> int:
    """What a child of multiprocessing is about to leave with; 0 where nobody says.

    From Python 3.13 on the finalizers run after the exception was printed and forgotten. What still knows how the child
    ended is the function that ran it, `bootstrap`, whose frame is kept where a run was begun below it; in a forked one
    also the one that forked.
    """
    fork = _frame_below("multiprocessing.popen_fork", "_launch")
    for frame, name in ((bootstrap, "exitcode"), (fork, "code")):
        code = None if frame is None else frame.f_locals.get(name)
        if isinstance(code, int):
            return code
    return 0


def _frame_below(module: str, function: str) -> FrameType | None:
    """The nearest caller that is a function of a module."""
    frame: FrameType | None = sys._getframe()  # noqa: SLF001 - there is no public way to it
    while frame is not None:
        if frame.f_code.co_name == function and frame.f_globals.get("__name__") == module:
            return frame
        frame = frame.f_back
    return None


RUNS = Process()
