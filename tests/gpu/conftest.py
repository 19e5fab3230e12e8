"""Runs are ended with their test, while its daemon is there; the debug mode ends with it too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import asynclog
from asynclog.process import RUNS


@pytest.fixture(autouse=True)
def _ended(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ASYNCLOG_HOST_METRICS_ENABLED", "false")  # the files hold what the test logs
    yield
    from tests.gpu.device import raise_where_it_waits  # where torch is missing, no test has come so far

    raise_where_it_waits(on=False)
    RUNS.finish_all("killed", 10)


@pytest.fixture
def run(tmp_path: Path) -> asynclog.Run:
    """A run with a daemon of its own, which is there."""
    begun = asynclog.init("p", "run", dir=str(tmp_path), rank=0, world_size=1)
    assert begun.flush(timeout=60)
    return begun
