"""The contract for our backends, each read by its product's own reader; the file backends also under SIGKILL."""

from __future__ import annotations

import csv
import json
import math
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlparse
from urllib.request import url2pathname

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from asynclogd import backends, registry
from asynclogd.backends._spelling import meant
from asynclogd.backends.base import Backend, RunInfo
from asynclogd.contractbase import MediaContent
from asynclogd.testing import BackendContract, Content
from tests.daemon.backends.fulldisk import FullDiskContract
from tests.daemon.backends.references import referred
from tests.daemon.backends.sigkill import SigkillContract

EXAMPLE = Path(__file__).parents[3] / "examples" / "custom_backend.py"


class TestTensorBoard(SigkillContract):
    where = "asynclogd.backends.tensorboard:TensorBoardBackend"

    def read(self, run: RunInfo) -> Content:
        reader = EventAccumulator(str(run.own_dir), size_guidance={"scalars": 0})
        reader.Reload()
        return [
            (tag, event.step, event.value)
            for tag in reader.Tags()["scalars"]
            if not tag.startswith("summary/")
            for event in reader.Scalars(tag)
        ]

    def stored(self, value: float) -> float:
        with np.errstate(over="ignore", under="ignore"):
            return float(np.float32(value))


class TestCsv(SigkillContract):
    where = "asynclogd.backends.csv:CsvBackend"

    def read(self, run: RunInfo) -> Content:
        with (run.own_dir / "metrics.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        names = {"_step": "step", "__step": "_step"}
        return [
            (names.get(name, name), int(row["step"]), float(cell))
            for row in rows
            for name, cell in row.items()
            if name != "step" and cell
        ]

    def read_media(self, run: RunInfo) -> MediaContent:
        with (run.own_dir / "media.csv").open(newline="", encoding="utf-8") as file:
            return [referred(run, row) for row in csv.DictReader(file)]


class TestJsonl(SigkillContract):
    where = "asynclogd.backends.jsonl:JsonlBackend"

    def read(self, run: RunInfo) -> Content:
        found: Content = []
        for line in (run.own_dir / "points.jsonl").read_text().splitlines():
            entry = json.loads(line)
            if "rewind" in entry:
                found = [point for point in found if point[1] < entry["rewind"]]
            found.extend((name, entry["step"], float(value)) for name, value in entry.get("metrics", {}).items())
        return found

    def read_media(self, run: RunInfo) -> MediaContent:
        entries = map(json.loads, (run.own_dir / "points.jsonl").read_text().splitlines())
        return [referred(run, entry) for entry in entries if entry.get("type") == "media"]


class TestTheExampleOfAnOwnOne(BackendContract):
    """examples/custom_backend.py, loaded as a daemon does."""

    @pytest.fixture(autouse=True)
    def _close_what_was_killed(self) -> Iterator[None]:
        """The contract kills by forgetting; Python 3.13 warns of a connection to SQLite that nobody closed."""
        self.made: list[Backend] = []
        yield
        for backend in self.made:
            backend.close("")

    def make(self) -> Backend:
        self.made.append(registry.build("table", {"class": f"{EXAMPLE}:TableBackend"}))
        return self.made[-1]

    def read(self, run: RunInfo) -> Content:
        with closing(sqlite3.connect(run.own_dir / "points.sqlite")) as table:
            found = table.execute("SELECT name, step, value FROM points ORDER BY name, rowid").fetchall()
        return [(name, step, math.nan if value is None else value) for name, step, value in found]

    def stored(self, value: float) -> float:
        return value + 0.0  # SQLite has no -0.0


@pytest.mark.mlflow
class TestMlflow(FullDiskContract):
    many_names = 2500

    def make(self) -> Backend:
        return registry.build("mlflow")

    def read(self, run: RunInfo) -> Content:
        import mlflow

        client = mlflow.MlflowClient(f"sqlite:///{run.own_dir / 'mlflow.db'}")
        experiment = client.get_experiment_by_name(run.project)
        assert experiment is not None
        (found,) = client.search_runs([experiment.experiment_id])
        return [
            (meant(key), metric.step, metric.value)
            for key in found.data.metrics
            for metric in client.get_metric_history(found.info.run_id, key)
        ]

    def read_media(self, run: RunInfo) -> MediaContent:
        import mlflow

        client = mlflow.MlflowClient(f"sqlite:///{run.own_dir / 'mlflow.db'}")
        (found,) = client.search_runs([client.get_experiment_by_name(run.project).experiment_id])
        root = Path(url2pathname(urlparse(found.info.artifact_uri).path))
        files = [path for path in (root / "media").rglob("*") if path.is_file()]
        return [
            (
                unquote(str(path.parent.relative_to(root / "media"))),
                int(path.stem.removeprefix("step_")),
                path.read_bytes(),
            )
            for path in files
        ]

    def stored(self, value: float) -> float:
        """SQL keeps no infinities and no negative zero."""
        return math.copysign(1.7976931348623157e308, value) if math.isinf(value) else value or 0.0


OURS = sorted(path.stem for path in Path(backends.__path__[0]).glob("[a-z]*.py") if path.stem != "base")


@pytest.mark.parametrize("name", OURS)
def test_a_backend_loads_no_sdk_before_it_is_opened(name: str):
    """A daemon takes the class, and checks the options, of a backend whose SDK may not be there."""
    code = f"""
import sys
import asynclogd.backends.{name}
from asynclogd.backends.base import Backend
classes = [each for each in Backend.__subclasses__() if each.__module__ == asynclogd.backends.{name}.__name__]
requires = [each(each.Config()).requires for each in classes]
sdks = {{"mlflow", "pandas", "tensorboard", "tensorflow", "torch"}} | {{each[0] for each in requires if each}}
assert len(classes) == 1
assert not sdks & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
