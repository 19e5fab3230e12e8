"""Runs are ended with their test, while its daemon is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from asynclog.process import RUNS


@pytest.fixture(autouse=True)
def _ended(runtime_dir: Path) -> Iterator[None]:
    yield
    RUNS.finish_all("success", 10)
