"""A command in a terminal of its own, and what it draws there."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """200 columns wide. `drawn` is all that has come so far, without what moves the cursor and colours."""

    def __init__(self, command: list[str], **environ: str) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
        environment = {**os.environ, "TERM": "xterm", **environ}
        self.process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, env=environment, start_new_session=True
        )
        os.close(slave)
        self._data = b""
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    @property
    def drawn(self) -> str:
        return CONTROL.sub("", self._data.decode(errors="replace"))

    def wait(self, timeout: float) -> int:
        """The exit code; everything is drawn then."""
        code = self.process.wait(timeout)
        self._thread.join(timeout)
        return code

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self._thread.join()
        os.close(self._master)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 4096)
            except OSError:  # what Linux says when nobody has the other end
                return
            if not data:
                return
            self._data += data
