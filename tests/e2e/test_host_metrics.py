"""The daemon's own metrics of its host, in a run's files."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

import asynclog
from asynclogd.cli.status import status
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

        def costs() -> bool:
            run.log({"loss": 1.0})
            return run.flush(60) and bool(csv_series(run.dir, "asynclog/log_us_p99"))

        eventually(costs, what="what log() costs is in the file")
        assert re.search(r"log\(\) of rank 0 +\d+\.\d [mu]?s +\d+\.\d [mu]?s", CliRunner().invoke(status).output)
    for series in (csv_series, tensorboard_series):
        assert series(tmp_path / "p" / "r", "system/memory_percent")
        assert series(tmp_path / "p" / "r", "system/loss") == {0: [1.5]}
        for name in ("asynclog/log_us_p50", "asynclog/log_us_p99"):
            values = series(tmp_path / "p" / "r", name)
            assert all(0.0 < value < 1e6 for each in values.values() for value in each)
            assert values
