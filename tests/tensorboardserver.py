"""A real `tensorboard`, and what its HTTP API answers."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urlencode


class Server:
    """`tensorboard --logdir`, on a port that was free."""

    def __init__(self, logdir: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(logdir), "--port", str(self.port)]
        command += ["--host", "127.0.0.1", "--reload_interval", "1"]
        # Its notes for other TensorBoards go to TMPDIR, and with it. Its data server ends when its end of a pipe does.
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "TMPDIR": str(logdir)}
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def get(self, path: str, **query: Any) -> bytes:
        """The body of the answer, b"" while there is none."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("GET", f"/data/{path}?{urlencode(query)}")
            answer = connection.getresponse()
            body = answer.read()
            return body if answer.status == 200 else b""
        except OSError:
            return b""
        finally:
            connection.close()

    def tags(self, plugin: str, run: str, route: str = "tags") -> Any:
        body = self.get(f"plugin/{plugin}/{route}")
        return json.loads(body).get(run, {}) if body else {}

    def end(self) -> None:
        self.process.terminate()
        self.process.wait(20)
