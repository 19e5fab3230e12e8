"""The runs of this process, and how they end with it: return, exception, SIGTERM, Ctrl-C, fork."""

from __future__ import annotations

import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections import Counter
from types import FrameType, TracebackType
from typing import TYPE_CHECKING

from asynclog.notices import PACKAGE

if TYPE_CHECKING:
    from asynclog.run import Run

EXIT_TIMEOUT_S = 30.0
KILLED_TIMEOUT_S = 5.0


class Process:
    """The open runs. One object exists, RUNS; everything here happens once, whatever the number of runs."""

    def __init__(self) -> None:
        self.current: Run | None = None
        self._open: list[Run] = []
        self._names: Counter[tuple[str, str]] = Counter()
        self._status = "success"
        self._installed = False

    def add(self, run: Run) -> None:
        """A run begins: it is the current one, and will be finished with the process at the latest."""
        self.current = run
        self._open.append(run)
        if not self._installed:
            self._installed = True
            atexit.register(self._at_exit)
            os.register_at_fork(after_in_child=self._after_fork)
            self._chain_excepthook()
        self._catch_sigterm()

    def remove(self, run: Run) -> None:
        """A run is finished."""
        if run in self._open:
            self._open.remove(run)
        in_main = threading.current_thread() is threading.main_thread()
        if not self._open and in_main and signal.getsignal(signal.SIGTERM) == self._on_sigterm:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

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
            run.begin_finish(status, timeout, quietly=True)
        for run in runs:
            run.finish(status, max(0.0, deadline - time.monotonic()))

    # ---- the ways out -------------------------------------------------------------------------------------------

    def _at_exit(self) -> None:
        timeout = KILLED_TIMEOUT_S if self._status == "killed" else EXIT_TIMEOUT_S
        with contextlib.suppress(KeyboardInterrupt):  # a second Ctrl-C: the rings stay, and the daemon reads them
            self.finish_all(self._status, timeout)

    def _chain_excepthook(self) -> None:
        previous = sys.excepthook

        def note(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
            self._status = "killed" if issubclass(kind, KeyboardInterrupt) else "failed"
            previous(kind, error, trace)

        sys.excepthook = note

    def _catch_sigterm(self) -> None:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_sigterm)

    def _on_sigterm(self, _number: int, frame: FrameType | None) -> None:
        """Finish, then die of SIGTERM as one would have; a second SIGTERM ends the process at once.

        Another thread does it, as this one may hold a run's lock; then it goes on until that thread has the lock.
        """
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        thread = threading.Thread(target=self._die, name="asynclog-sigterm", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is on its way out
            os.kill(os.getpid(), signal.SIGTERM)
        if not _is_inside_asynclog(frame):
            thread.join(2 * KILLED_TIMEOUT_S)

    def _die(self) -> None:
        try:
            self.finish_all("killed", KILLED_TIMEOUT_S)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _after_fork(self) -> None:
        """In the child: its copies of the runs are inert, and it ends as if they were not there."""
        for run in self._open:
            run.after_fork()
        self._open.clear()
        self._status = "success"
        try:
            if signal.getsignal(signal.SIGTERM) == self._on_sigterm:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
        except ValueError:
            pass  # forked off the main thread


def _is_inside_asynclog(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            return True
        frame = frame.f_back
    return False


RUNS = Process()
