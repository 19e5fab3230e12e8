"""What this process takes of the machine, told also when it has no file descriptor left: then it matters most."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource

import psutil

STATM = "/proc/self/statm"


class OwnProcess:
    """Keeps what it reads open from the beginning to `close`, where the system has that as a file."""

    def __init__(self) -> None:
        self._process = psutil.Process()
        self._statm = -1
        with contextlib.suppress(FileNotFoundError):  # not Linux: there psutil needs no descriptor
            self._statm = os.open(STATM, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        """Read no more."""
        if self._statm >= 0:
            os.close(self._statm)
            self._statm = -1

    def rss(self) -> int:
        """Bytes of memory."""
        if self._statm < 0:
            return int(self._process.memory_info().rss)
        return int(os.pread(self._statm, 256, 0).split()[1]) * resource.getpagesize()

    def cpu_seconds(self) -> float:
        """Of all its threads, since it began."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    def descriptors(self) -> tuple[int, int]:
        """How many file descriptors are open, and how many may be, which can be changed from outside. To count them
        takes one: where none is to be had, all are open.
        """
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        try:
            return int(self._process.num_fds()), most
        except OSError:
            return most, most


def give_memory_back() -> None:
    """What was freed goes to the system. GNU's libc keeps small pieces for the next time, and a peer that makes memory
    grow time after time would first take what is kept, unseen, and then as much again.
    """
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)
