"""The daemon's own metrics of its host, in a run's files."""

from __future__ import annotations

from pathlib import Path

import pytest

import asynclog
from tests.e2e.oracle import csv_series, tensorboard_series

pytestmark = pytest.mark.timeout(120)


def test_the_nodes_own_metrics_are_in_the_files_beside_what_is_logged_under_such_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually
) -> None:
    monkeypatch.setenv("ASYNCLOG_HOST_METRICS_INTERVAL", "0.1")
    with asynclog.init(project="p", name="r", dir=str(tmp_path), backends=["tensorboard", "csv"]) as run:
        run.log({"system/loss": 1.5}, step=0)
        assert run.flush(60)
        eventually(lambda: csv_series(run.dir, "system/memory_percent"), what="the node's metrics are in the file")
    for series in (csv_series, tensorboard_series):
        assert series(tmp_path / "p" / "r", "system/memory_percent")
        assert series(tmp_path / "p" / "r", "system/loss") == {0: [1.5]}
