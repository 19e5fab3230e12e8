"""The daemon's doors: a private runtime directory, one daemon per directory, room for connections."""

from __future__ import annotations

import fcntl
import logging
import os
import resource
from pathlib import Path

from asynclog_proto import places
from asynclog_proto.errors import AsynclogError
from asynclogd.incidents import about

log = logging.getLogger(__name__)

ENOUGH_DESCRIPTORS = 4096
"""With so many no flood of connections gets at libzmq, which accepts about 1,000 before it can be stopped."""


class DaemonRunningError(AsynclogError):
    """Another daemon serves this runtime directory."""


def prepare_runtime(runtime: Path) -> None:
    """Make the runtime directory and its `rings`, or check that they are private. Raises UnsafePathError."""
    for directory in (runtime, runtime / "rings", runtime / "runs"):
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        places.check_private(directory, os.lstat(directory), os.getuid())


def keep_writers_out() -> None:
    """From here on this process makes nothing that another user may write, whatever umask it was started with.

    What is ours alone says so where it is made. The rest is what backends deliver, and the umask that it was started
    with says who may read that: with 077 a colleague's TensorBoard could not.
    """
    os.umask(os.umask(0o077) | 0o022)


class DaemonLock:
    """Held by the one daemon of a runtime directory, for life; taken before the socket is bound, because a
    second bind on an ipc path silently steals it. The kernel lets go of it when the process dies.
    """

    def __init__(self, runtime: Path) -> None:
        self._fd = os.open(runtime / "daemon.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            pid = os.read(self._fd, 32).decode(errors="replace").strip()
            os.close(self._fd)
            raise DaemonRunningError(f"a daemon (pid {pid or 'unknown'}) already serves {runtime}") from error
        os.ftruncate(self._fd, 0)
        os.write(self._fd, f"{os.getpid()}\n".encode())

    def release(self) -> None:
        """Let another daemon in."""
        os.close(self._fd)


def raise_file_limit() -> int:
    """As many file descriptors as the system lets us have: libzmq aborts when they run out. How many that is."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else 1 << 16
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft < ENOUGH_DESCRIPTORS:
        text = (
            "%d file descriptors are all that this daemon may have: a flood of connections could end it, and the next "
            "log() would start another. Raise the hard limit to %d (ulimit -Hn)"
        )
        log.warning(text, soft, ENOUGH_DESCRIPTORS, extra=about("few-descriptors"))
    return soft


def connections_within(limit: int, wanted: int, doors: int) -> int:
    """How many connections each of some doors may have: what is wanted, or half of the file descriptors together. The
    other half is for runs and backends, and for who comes in before we have counted.
    """
    return max(1, min(wanted, limit // 2 // doors))
