"""The contract looks at a backend of your own: the one of custom_backend.py, and yours in its place.

    pytest examples/test_custom_backend.py

`make` gives the backend, `read` what the product shows of a run, with the product's own reader.
"""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from asynclog.testing.contract import BackendContract, Content, RunInfo
from custom_backend import TableBackend, TableConfig


class TestTableBackend(BackendContract):
    def make(self) -> TableBackend:
        self.made.append(TableBackend(TableConfig()))
        return self.made[-1]

    def read(self, run: RunInfo) -> Content:
        with closing(sqlite3.connect(run.own_dir / "points.sqlite")) as table:
            found = table.execute("SELECT name, step, value FROM points ORDER BY name, rowid").fetchall()
        return [(name, step, math.nan if value is None else value) for name, step, value in found]

    def stored(self, value: float) -> float:
        return value + 0.0  # SQLite has no -0.0

    @pytest.fixture(autouse=True)
    def _close_what_was_killed(self) -> Iterator[None]:
        """The contract kills by forgetting; Python 3.13 warns of a connection to SQLite that nobody closed."""
        self.made: list[TableBackend] = []
        yield
        for backend in self.made:
            backend.close("")
