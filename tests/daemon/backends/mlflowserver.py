"""A real `mlflow server`, for as long as a test wants it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class MlflowServer:
    """`uri` is the same whenever it is started; what it keeps is in the directory."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self.uri = f"http://127.0.0.1:{self._port}"
        self._process: subprocess.Popen[bytes]

    def start(self) -> None:
        """Returns once it answers."""
        directory = self._directory
        command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(self._port)]
        command += ["--backend-store-uri", f"sqlite:///{directory / 'server.db'}", "--workers", "1"]
        with (directory / "server.log").open("ab") as output:
            self._process = subprocess.Popen(
                [*command, "--artifacts-destination", str(directory / "artifacts")],
                stdout=output, stderr=output, cwd=directory, start_new_session=True,
            )  # fmt: skip
        _wait_for(f"{self.uri}/health", self._process, time.monotonic() + 120)

    @contextmanager
    def halted(self) -> Iterator[None]:
        """It takes connections and answers nothing."""
        os.killpg(self._process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.killpg(self._process.pid, signal.SIGCONT)

    def kill(self) -> None:
        """It and its worker: they are a group of their own."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def stop(self) -> None:
        """End it, by force where that takes long; one that has ended is left as it is."""
        if self._process.poll() is not None:
            return
        os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self.kill()


@contextmanager
def mlflow_server(directory: Path) -> Iterator[MlflowServer]:
    """One that has been started."""
    server = MlflowServer(directory)
    try:
        server.start()
        yield server
    finally:
        server.stop()


def _wait_for(url: str, server: subprocess.Popen[bytes], deadline: float) -> None:
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server does not answer")
