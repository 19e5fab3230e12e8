"""CPU that logging takes beside the training: of this rank's threads that are not the training's, and of the daemon."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

from asynclog_proto import places
from asynclogd import talk
from cpu import cpu_clock

SENDER, ZEROMQ = "asynclog-", "ZMQbg"
"""How the threads that asynclog starts are called: Python's own, and libzmq's in the kernel."""

_TASKS = Path("/proc/self/task")


class Beside:
    """Reads CPU clocks of threads that are there when it is made. Linux only."""

    def __init__(self, sender: str = SENDER, daemon: int | None = None) -> None:
        """Of threads whose name begins so, and a daemon by its pid: without one, the environment's has to answer.
        RuntimeError when this process has no sender.
        """
        senders = [thread.native_id for thread in threading.enumerate() if thread.name.startswith(sender)]
        if not senders:
            raise RuntimeError("no run is open here: there is no sender to measure")
        native = [int(task.name) for task in _TASKS.iterdir() if (task / "comm").read_text().startswith(ZEROMQ)]
        self._threads = [task for task in (*senders, *native) if task is not None]
        # After that, for asking has threads of its own.
        self._daemon = _environments_daemon() if daemon is None else daemon

    def seconds(self, ranks: int) -> float:
        """CPU seconds of the daemon and of so many ranks' threads, each as this one's."""
        return self.rank_seconds() * ranks + self.daemon_seconds()

    def rank_seconds(self) -> float:
        """CPU seconds of this process's threads that log."""
        return sum(map(_thread_seconds, self._threads))

    def daemon_seconds(self) -> float:
        """CPU seconds of the daemon, all its threads; its encoders are left out, which only media need."""
        seconds = cpu_clock(self._daemon)
        if seconds is None:
            raise RuntimeError("the daemon is gone")
        return seconds


def _environments_daemon() -> int:
    endpoint = places.endpoint(places.runtime_dir(os.environ, os.getuid()))
    pid: int = talk.ask(endpoint, timeout=30)["daemon"]["pid"]
    return pid


def _thread_seconds(task: int) -> float:
    try:
        return time.clock_gettime((~task << 3) | 6)  # clock_getcpuclockid(3) of a thread of this process, to the ns
    except OSError:  # of a run that has ended: it was about to go
        return 0.0
