"""A daemon that is a benchmark's own."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from asynclog_proto import places
from asynclogd import talk


@contextmanager
def own_daemon(*, host_metrics: bool = False) -> Iterator[str]:
    """A runtime directory of its own, short enough for a socket; the daemon that comes there ends with the block. Its
    endpoint.
    """
    with tempfile.TemporaryDirectory(prefix="al-") as runtime:
        os.environ["ASYNCLOG_RUNTIME_DIR"] = runtime
        os.environ["ASYNCLOG_HOST_METRICS_ENABLED"] = str(host_metrics).lower()
        endpoint = places.endpoint(Path(runtime))
        try:
            yield endpoint
        finally:
            if Path(runtime, "daemon.sock").exists():  # it may have been stopped by then
                stopped(endpoint)


@contextmanager
def started_daemon() -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """Such a daemon, started here rather than by a run. Its endpoint and its process, which may be killed."""
    with tempfile.TemporaryDirectory(prefix="al-") as runtime:
        environ = {**os.environ, "ASYNCLOG_HOST_METRICS_ENABLED": "false"}
        command = [sys.executable, "-m", "asynclogd", "daemon", "--runtime-dir", runtime]
        with Path(runtime, "daemon.log").open("w") as log:
            process = subprocess.Popen(command, env=environ, stdout=log, stderr=log, cwd=runtime)
        endpoint = places.endpoint(Path(runtime))
        try:
            _until_it_answers(endpoint, process, Path(runtime, "daemon.log"))
            yield endpoint, process
        finally:
            process.terminate()
            process.wait(timeout=60)


def _until_it_answers(endpoint: str, process: subprocess.Popen[bytes], log: Path) -> None:
    while True:
        try:
            talk.ask(endpoint, timeout=0.5)
        except talk.NoDaemonError:
            if process.poll() is not None:
                raise RuntimeError(f"the daemon ended with {process.returncode}: {log.read_text()}") from None
        else:
            return


def stopped(endpoint: str) -> None:
    """Have the daemon end, and wait for it."""
    pid = talk.ask(endpoint, "stop", timeout=30)["daemon"]["pid"]
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
