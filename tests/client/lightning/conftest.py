"""Runs are ended with their test, while its daemon is there; the node's own metrics stay out of their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asynclog.process import RUNS


@pytest.fixture(autouse=True)
def _ended(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("ASYNCLOG_HOST_METRICS_ENABLED", "false")  # a fit that takes a second would have system/*
    yield
    RUNS.finish_all("success", 10)
