"""A daemon that is a benchmark's own."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from asynclog_proto import places
from asynclogd import talk


@contextmanager
def own_daemon() -> Iterator[str]:
    """A runtime directory of its own, short enough for a socket; the daemon that comes there ends with the block. Its
    endpoint.
    """
    with tempfile.TemporaryDirectory(prefix="al-") as runtime:
        os.environ["ASYNCLOG_RUNTIME_DIR"] = runtime
        os.environ["ASYNCLOG_HOST_METRICS_ENABLED"] = "false"
        endpoint = places.endpoint(Path(runtime))
        try:
            yield endpoint
        finally:
            stopped(endpoint)


def stopped(endpoint: str) -> None:
    """Have the daemon end, and wait for it."""
    pid = talk.ask(endpoint, "stop", timeout=30)["daemon"]["pid"]
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        time.sleep(0.05)
