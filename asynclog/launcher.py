"""Finding the daemon of this node, and starting one when there is none. Called from the sender's thread."""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from asynclog.keys import ClientKeys
from asynclog.process import RUNS
from asynclog_proto import places

RETRY_S, MOST_RETRY_S = 2.0, 30.0
PROBE_S, BUSY_PROBE_S = 0.1, 1.0
PATIENCE_S = 5.0
STARTING_S = 15.0

# What makes a process one rank of a job, and a run that one; the daemon is none.
_RANK_PREFIXES = ("TORCHELASTIC_", "OMPI_COMM_WORLD_", "PMI_", "PMIX_RANK")
_RANK_NAMES = frozenset(
    (
        *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT"),
        *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE", "SLURM_PROCID", "SLURM_LOCALID"),
        *("ASYNCLOG_ENDPOINT", "ASYNCLOG_NAME", "ASYNCLOG_MODE"),
    )
)


def daemon_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a spawned daemon: the client's, without what makes it a rank, and that run."""
    from asynclog_proto import trackers  # in the sender's thread: the first log() does not wait for its patterns

    of_the_run = _RANK_NAMES | trackers.handed_over(environ)
    return {
        name: value for name, value in environ.items() if name not in of_the_run and not name.startswith(_RANK_PREFIXES)
    }


def answers(endpoint: str) -> bool:
    """Whether some process listens on an ipc endpoint."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | getattr(socket, "SOCK_CLOEXEC", 0)) as probe:
        probe.setblocking(False)
        try:
            probe.connect(endpoint[len("ipc://") :])
        except BlockingIOError:
            return True  # its backlog is full
        except OSError:
            return False
    return True


class Launcher:
    """Keeps a daemon alive at `endpoint`; one that the caller named (`spawns` false) is only waited for.

    `last_sign` is when somebody was last seen to be there or to be coming, in monotonic seconds.
    """

    def __init__(
        self,
        endpoint: str,
        runtime: Path,
        *,
        spawns: bool,
        tell: Callable[[object, str], None],
        keys: ClientKeys | None = None,
    ) -> None:
        """`keys` are for an endpoint on another machine."""
        self.endpoint = endpoint
        self.keys = keys
        self.last_sign = 0.0
        self._runtime = runtime
        self._spawns = spawns
        self._tell = tell
        self._ask_at = 0.0
        self._since: float | None = None
        self._spawn_at = 0.0
        self._retry = RETRY_S
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._started = 0.0
        self._hurried = False

    def connected(self) -> None:
        """The daemon answered."""
        self._since = None
        self._retry = RETRY_S
        self._unlock()

    def hurry(self) -> None:
        """Someone waits, or the run ends: a daemon that is to be spawned again is spawned now, not when its turn
        would come. Once, until `calm`.
        """
        if not self._hurried:
            self._hurried = True
            self._spawn_at = 0.0
            self._retry = RETRY_S

    def calm(self) -> None:
        """Nobody waits any more."""
        self._hurried = False

    def ensure(self, now: float) -> None:
        """Called while there is no connection: see who is there, and spawn a daemon when nobody is."""
        if self._since is None:
            self._since = now
        if now < self._ask_at:
            return
        self._ask_at = now + PROBE_S
        if not places.is_remote(self.endpoint) and answers(self.endpoint):
            self.last_sign = now
            self._ask_at = now + BUSY_PROBE_S  # it is there and will answer us: each question is a connection
        elif self._spawns:
            self._start(now)
        elif now - self._since > PATIENCE_S:
            self._tell(
                "endpoint",
                f"nothing answers at {self.endpoint}{self._maybe}: records wait in the ring and then in the spool; "
                "training goes on, and they are sent when a daemon comes",
            )

    def close(self) -> None:
        """Leave the daemon to itself: it lives on in a session of its own."""
        self._unlock()
        if self._process is not None and self._process.poll() is None:
            self._process.returncode = 0  # Popen would warn that a child is left, which is what we want

    @property
    def _maybe(self) -> str:
        """What else may be: whoever has no key is not told so."""
        return " (or our key is not allowed there, or its key is another than we trust)" if self.keys else ""

    def _start(self, now: float) -> None:
        if self._process is not None and self._watch(now):
            return
        if now < self._spawn_at:
            return
        try:
            if not self._take_lock():
                self.last_sign = now  # another rank is at it
                return
            self._spawn(now)
        except OSError as error:
            self._tell("spawn", f"can't start a daemon in {self._runtime}: {error}")
            self._unlock()
        self._spawn_at = now + self._retry
        self._retry = min(2 * self._retry, MOST_RETRY_S)

    def _watch(self, now: float) -> bool:
        """Whether a daemon that was spawned is still on its way."""
        assert self._process is not None
        code = self._process.poll()
        if code is None and now - self._started < STARTING_S:
            self.last_sign = now
            return True
        self._unlock()
        if code:
            self._tell("spawn", f"the daemon ended with code {code}: see {self._runtime / 'daemon.log'}")
        if code is not None:
            self._process = None
        return code is None

    def _spawn(self, now: float) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        environ = daemon_environ(os.environ)
        log = os.open(self._runtime / "daemon.log", flags, 0o600)
        try:
            with RUNS.spawning:
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "asynclogd", "daemon", "--runtime-dir", str(self._runtime), "--auto"],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=self._runtime,  # `-m` puts it first on the path: not the user's, whose modules may shadow ours
                    env=environ,
                    start_new_session=True,
                )
        finally:
            os.close(log)
        self._started = self.last_sign = now

    def _take_lock(self) -> bool:
        if self._lock is None:
            flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
            lock = os.open(self._runtime / "spawn.lock", flags, 0o600)
            try:
                fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                os.close(lock)
                return False
            self._lock = lock
        return True

    def _unlock(self) -> None:
        lock, self._lock = self._lock, None
        if lock is not None:
            with contextlib.suppress(OSError):
                os.close(lock)
