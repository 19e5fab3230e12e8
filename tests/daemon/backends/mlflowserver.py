"""A real `mlflow server`, for as long as a test wants it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def mlflow_server(directory: Path) -> Iterator[str]:
    """Its URI, once it answers; what it keeps is in the directory."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    uri = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port)]
    command += ["--backend-store-uri", f"sqlite:///{directory / 'server.db'}", "--workers", "1"]
    with (directory / "server.log").open("wb") as output:
        server = subprocess.Popen(
            [*command, "--artifacts-destination", str(directory / "artifacts")],
            stdout=output, stderr=output, cwd=directory, start_new_session=True,
        )  # fmt: skip
    try:
        _wait_for(f"{uri}/health", server, time.monotonic() + 120)
        yield uri
    finally:
        os.killpg(server.pid, 15)  # its own group: the server and its worker
        try:
            server.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, 9)
            server.wait()


def _wait_for(url: str, server: subprocess.Popen[bytes], deadline: float) -> None:
    while time.monotonic() < deadline:
        assert server.poll() is None, "the server has ended"
        try:
            with urllib.request.urlopen(url, timeout=5):  # noqa: S310 - our own server
                return
        except OSError:
            time.sleep(0.2)
    raise AssertionError("the server does not answer")
