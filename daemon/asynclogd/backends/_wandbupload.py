"""The upload of a `.wandb` file while it grows, by W&B's own uploader in a process of its own (_wandbsync.py).

It reads the file from its beginning each time it is started. W&B knows rows by their `_step`, so those that come again
are no news to it. It retries a server that is down, slow or throttling by itself, for as long as it lives; what it
gives up on it says in a line `wandb: ERROR ...`.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from asynclogd.backends._wandbplace import Login

_OUTPUT = "upload.log"
_ERROR = b"wandb: ERROR "
_SYNCED = ".synced"
_LONGEST_ERROR = 1000
_ENDS_WITHIN = 5.0
_LOOK_EVERY = 1.0
_LONGEST_LOG = 1 << 20
_LAST_OF_LOG = 1 << 15
_RETRIED = "api: retrying"
_RETRIED_LATELY = 120.0
"""s: wandb-core waits at most a minute before it tries again"""


class UploadError(Exception):
    """W&B's uploader has given up: what it said."""


class Upload:
    """One uploader at a time, for one file."""

    def __init__(self, login: Login, logs: Path) -> None:
        """`logs`: a directory for what W&B tells and logs."""
        self._login, self._logs = login, logs
        self._process: subprocess.Popen[bytes] | None = None
        self._file = Path()
        self._looked = float("-inf"), ""

    def ensure(self, file: Path) -> None:
        """Upload `file`, from now on if nothing or another one is. Raises OSError."""
        if self._process is None or file != self._file:
            self.stop()
            self._start(file)

    def _start(self, file: Path) -> None:
        shutil.rmtree(self._logs, ignore_errors=True)  # what it said before
        self._logs.mkdir(parents=True)
        self._file = file
        self._synced().unlink(missing_ok=True)
        command = [sys.executable, "-m", "asynclogd.backends._wandbsync", str(os.getpid()), str(file)]
        with (self._logs / _OUTPUT).open("ab") as output:  # one that is cut goes on at its new end
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
        lines = (self._logs / _OUTPUT).read_bytes().splitlines()
        said = _error_in(lines)
        if said or (ended is not None and not self._synced().exists()):
            self.stop()
            text = said or _text(b"".join(lines[-1:]))
            raise UploadError(f"W&B at {self._login.host}: {text or f'its uploader ended with {ended}'}")
        self._bound_logs()

    def trouble(self) -> str:
        """What it has given up on, which `check` raises when it is asked next, or what it retries; "" for nothing. From
        any thread. Looked up now and then.
        """
        looked, found = self._looked
        if time.monotonic() - looked >= _LOOK_EVERY:
            found = ""
            with contextlib.suppress(OSError):  # it begins anew
                given_up = _error_in((self._logs / _OUTPUT).read_bytes().splitlines())
                found = given_up or _retried(self._logs, time.time())
            self._looked = time.monotonic(), found
        return f"W&B at {self._login.host}: {found}" if found and self._process is not None else ""

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

    def _bound_logs(self) -> None:
        """W&B logs a line a second while it waits for more of the file."""
        for log in self._logs.rglob("*.log"):
            if log.stat().st_size > _LONGEST_LOG:
                os.truncate(log, 0)


def _error_in(lines: Sequence[bytes]) -> str:
    """The first line by which W&B tells that it has given up."""
    return _text(next((line for line in lines if line.startswith(_ERROR)), b"").removeprefix(_ERROR))


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace")[:_LONGEST_ERROR]


def _retried(logs: Path, now: float) -> str:
    """The last request that it has lately tried again, as its own log has it."""
    for log in logs.rglob("debug-sync.*.log"):
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - _LAST_OF_LOG))
            lines = file.read().splitlines()
        for line in reversed(lines):
            with contextlib.suppress(
                msgspec.DecodeError, KeyError, TypeError, ValueError
            ):  # half a line, or another form
                told: dict[str, Any] = msgspec.json.decode(line)
                if told["msg"].startswith(_RETRIED):
                    at = dt.datetime.fromisoformat(f"{told['time'][:19]}+00:00").timestamp()
                    what = f"HTTP {told['status']} from {told['url']}" if "status" in told else told["error"]
                    return f"its uploader retries: {what}"[:_LONGEST_ERROR] if abs(now - at) < _RETRIED_LATELY else ""
    return ""
