"""The upload of a `.wandb` file while it grows, by W&B's own uploader in a process of its own (_wandbsync.py).

It reads the file from its beginning each time it is started. W&B knows rows by their `_step`, so those that come again
are no news to it. It retries a server that is down, slow or throttling by itself, for as long as it lives; what it
gives up on it says in a line `wandb: ERROR ...`.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

from asynclogd.backends._wandbplace import Login

_OUTPUT = "upload.log"
_ERROR = b"wandb: ERROR "
_SYNCED = ".synced"
_LONGEST_ERROR = 1000
_ENDS_WITHIN = 5.0
_LOOK_EVERY = 1.0


class UploadError(Exception):
    """W&B's uploader has given up: what it said."""


class Upload:
    """One uploader at a time, for one file."""

    def __init__(self, login: Login, logs: Path) -> None:
        """`logs`: a directory for what W&B tells and logs."""
        self._login, self._logs = login, logs
        self._process: subprocess.Popen[bytes] | None = None
        self._file = Path()

    def ensure(self, file: Path) -> None:
        """Upload `file`, from now on if nothing or another one is. Raises OSError."""
        if self._process is None or file != self._file:
            self.stop()
            self._start(file)

    def _start(self, file: Path) -> None:
        self._logs.mkdir(parents=True, exist_ok=True)
        self._file = file
        self._synced().unlink(missing_ok=True)
        command = [sys.executable, "-m", "asynclogd.backends._wandbsync", str(os.getpid()), str(file)]
        with (self._logs / _OUTPUT).open("wb") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self._login.environment(os.environ, self._logs),
                start_new_session=True,  # a Ctrl-C is the training's
            )

    def check(self) -> None:
        """Raises UploadError when it has given up on anything."""
        if self._process is None:
            return
        ended = self._process.poll()  # before the output is read, or its last line might be missed
        if (said := self._error()) or (ended is not None and not self._synced().exists()):
            self.stop()
            raise UploadError(f"W&B at {self._login.host}: {said or f'its uploader ended with {ended}'}")

    def finish(self) -> None:
        """Wait until all of the file, whose last record is the run's end, is at W&B. Raises UploadError."""
        while self._process is not None:
            self.check()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LOOK_EVERY)
                self.check()
                self.stop()

    def stop(self) -> None:
        """End the process; what it has sent stays at W&B. Idempotent."""
        process, self._process = self._process, None
        if process is not None:
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(_ENDS_WITHIN)
                return
            process.kill()
            process.wait()

    def _synced(self) -> Path:
        """What W&B's uploader makes when it has sent a file."""
        return self._file.with_name(self._file.name + _SYNCED)

    def _error(self) -> str:
        for line in (self._logs / _OUTPUT).read_bytes().splitlines():
            if line.startswith(_ERROR):
                return line.removeprefix(_ERROR).decode("utf-8", "replace")[:_LONGEST_ERROR]
        return ""
