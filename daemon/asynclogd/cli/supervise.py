"""A daemon and a training command side by side: the processes, their signals and their ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, Any

from asynclog_proto import places
from asynclog_proto.errors import AsynclogError
from asynclogd import talk

START_SECONDS = 20.0
STOP_SECONDS = 20.0
RESPAWN_SECONDS = 1.0
POLL_SECONDS = 0.05
FORWARDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class SupervisedDaemon:
    """A daemon process on a runtime directory of its own, started again when it dies."""

    def __init__(self, runtime: Path, arguments: Sequence[str]) -> None:
        self.runtime = runtime
        self.endpoint = places.endpoint(runtime)
        self.log = runtime / "daemon.log"
        self.restarts = 0
        self._arguments = [*arguments, "--auto", f"--owner={os.getpid()}"]
        self._started = 0.0

    def start(self) -> None:
        """Start it and wait until it answers. Raises AsynclogError with the end of its log when it does not."""
        self._spawn()
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                talk.ask(self.endpoint, timeout=0.2)
            except talk.NoDaemonError:
                continue
            return
        raise AsynclogError(f"the daemon did not start; {self.log} ends with:\n{self._log_tail()}")

    def watch(self) -> None:
        """Start it again when it has died: it goes on from its journal."""
        if self._process.poll() is not None and time.monotonic() - self._started > RESPAWN_SECONDS:
            self.restarts += 1
            self._spawn()

    def stop(self) -> None:
        """End it: by its own door first, then by signal."""
        try:
            talk.ask(self.endpoint, "stop")
            self._process.wait(STOP_SECONDS)
        except (talk.NoDaemonError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait()

    def _spawn(self) -> None:
        self._started = time.monotonic()
        command = [
            sys.executable,
            "-m",
            "asynclogd",
            "daemon",
            "--runtime-dir",
            str(self.runtime),
            *self._arguments,
        ]
        with _private_log(self.log) as log:
            # Its own session: Ctrl-C in the terminal is for the training; the daemon ends after it.
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-12:])


@contextmanager
def _private_log(path: Path) -> Iterator[IO[bytes]]:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "ab") as file:
        yield file


def run_child(command: Sequence[str], environ: Mapping[str, str], daemon: SupervisedDaemon) -> int:
    """Run the training command to its end, with signals forwarded and the daemon watched. Returns the exit code
    as a shell gives it: 128 + the signal's number for a killed child. Raises FileNotFoundError, PermissionError.

    The child has a process group of its own, in the terminal's foreground: what a terminal or a sender signals reaches
    it once, directly or through us, and never both ways.
    """
    with _forwarding() as forward_to:
        child = subprocess.Popen(command, env=dict(environ), preexec_fn=os.setpgrp)  # noqa: PLW1509 - one thread
        forward_to(child)
        with _foreground(child.pid):
            while child.poll() is None:
                try:
                    child.wait(POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    daemon.watch()
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


@contextmanager
def _forwarding() -> Iterator[Callable[[subprocess.Popen[Any]], None]]:
    """Signals go to the process that is told to what this gives; until then they wait for it."""
    children: list[subprocess.Popen[Any]] = []
    waiting: list[int] = []

    def forward(number: int, _: FrameType | None = None) -> None:
        if not children:
            waiting.append(number)
        elif children[0].poll() is None:
            children[0].send_signal(number)

    def forward_to(child: subprocess.Popen[Any]) -> None:
        children.append(child)
        for number in waiting:
            forward(number)

    before = {number: signal.signal(number, forward) for number in FORWARDED}
    try:
        yield forward_to
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _foreground(group: int) -> Iterator[None]:
    """Give the terminal to the child, as a shell does, when we have it ourselves: Ctrl-C and debuggers work."""
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        yield
        return
    ours = os.getpgrp()
    ignored = signal.signal(signal.SIGTTOU, signal.SIG_IGN)  # or the kernel stops us for the way back
    try:
        if os.tcgetpgrp(terminal) == ours:
            os.tcsetpgrp(terminal, group)
        yield
        if os.tcgetpgrp(terminal) == group:
            os.tcsetpgrp(terminal, ours)
    finally:
        signal.signal(signal.SIGTTOU, ignored)
        os.close(terminal)
