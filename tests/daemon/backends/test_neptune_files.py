"""What else is in Neptune's databases, and what befalls them."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from asynclogd.backends.base import (
    Media,
    Params,
    PermanentError,
    RunEnd,
    StartOverError,
    Summary,
)
from asynclogd.media import forms
from asynclogd.samples import filled
from asynclogd.testing import table
from tests.daemon.backends.mediastore import Store
from tests.daemon.backends.neptuneworld import info, media, opened, runs, written

pytestmark = pytest.mark.sdk


def test_single_values_by_their_types_and_the_runs_state(tmp_path: Path):
    run = info(tmp_path)
    params = Params(
        {"lr": 0.1, "n": 3, "on": True, "none": None, "big": 2**70, "nan": float("inf"), "text": "x" * 20_000}
    )
    position = written(run, params, Summary({"best": 0.5}), RunEnd("failed"), project="lab/digits", tags=("a", "b"))
    (found,) = runs(run.own_dir)
    assert (found.project, found.run_id) == ("lab/digits", position["key"])
    assert sorted(found.tags) == ["a", "b"]
    assert found.single == {
        "params/lr": 0.1, "params/n": 3, "params/on": True, "params/none": "", "params/big": str(2**70),
        "params/nan": float("inf"), "params/text": "x" * 16_383 + "…", "summary/best": 0.5,
        "asynclog/status": "failed", "asynclog/world_size": 2, "asynclog/name": "run-1",
    }  # fmt: skip


def test_media_are_series_of_their_types(tmp_path: Path):
    store = Store()
    run = info(tmp_path, store)
    written(run, *media(store, tmp_path))
    (found,) = runs(run.own_dir)
    values = {path: value for path, ((_, _, value),) in found.series.items()}
    assert values["media/said"] == "# hello"
    spread = values["media/spread"]
    assert (list(spread.bin_edges), list(spread.counts.values)) == ([0, 1, 2, 3], [1, 2, 1])
    for name, total in {"fine": 20_000, "one": 2}.items():
        bins = values[f"media/{name}"]
        assert len(bins.bin_edges) == len(bins.counts.values) + 1 <= 513
        assert all(np.diff(bins.bin_edges) > 0)
        assert sum(bins.counts.values) == total
    uploads = {each.destination: each for each in found.files}
    kept = {
        path: (value.mime_type, Path(uploads[value.path].source_path).read_bytes())
        for path, value in values.items()
        if hasattr(value, "mime_type")
    }
    assert kept["media/seen"][0] == "image/png"
    assert kept["media/seen"][1].startswith(b"\x89PNG")
    assert kept["media/heard"][0].startswith("audio/")
    assert kept["media/cells"] == ("application/json", b'{"columns":["a"],"rows":[[1]]}')
    assert kept["media/ckpt"][1] == b"weights"
    assert kept["media/logs/a.txt"] == ("text/plain", b"one")
    assert len(kept) == len(found.files) == 6


def test_media_that_are_not_of_their_form_or_gone_are_refused_for_good(tmp_path: Path):
    store = Store()
    os.mkfifo(tmp_path / "pipe")
    backend = opened(info(tmp_path, store))
    for bad in (
        Media("h", 1, 1.7e9, "histogram", forms.HISTOGRAM, {"n": 2}, store.put(b"12345")),
        Media("t", 1, 1.7e9, "text", forms.MARKDOWN, {}, store.put(b"\xff")),
        Media("f", 1, 1.7e9, "file", forms.BYTES, {"path": str(tmp_path / "gone")}, store.put(b"")),
        Media("p", 1, 1.7e9, "file", forms.BYTES, {"path": str(tmp_path / "pipe")}, store.put(b"")),
    ):
        with pytest.raises(PermanentError):
            backend.write([bad])
    backend.close("")


def test_a_project_that_neptune_would_not_take_is_one_clear_error(tmp_path: Path):
    with pytest.raises(PermanentError, match="workspace/name"):
        opened(info(tmp_path), project="digits")


def test_a_database_that_was_synchronized_meanwhile_is_begun_again(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, table(["a"], range(5)))
    database = run.own_dir / "run-0" / "run_operations.sqlite3"
    for path in database.parent.glob("run_operations*"):
        path.unlink()
    backend = opened(run, position)
    backend.write([table(["a"], range(5, 8)), table(["a"], [2])])
    backend.close("")  # killed before the flush: nothing of it counts
    written(run, table(["a"], range(5, 8)), table(["a"], [2]), position=position)
    (found,) = runs(run.own_dir)
    assert found.run_id == position["key"]
    assert [step for step, _, _ in found.series["metrics/a"]] == [5, 6, 7]
    assert [step for step, _, _ in found.series["late/1/metrics/a"]] == [2]


def test_a_database_that_is_removed_while_it_is_written_is_noticed(tmp_path: Path):
    run = info(tmp_path)
    backend = opened(run)
    (run.own_dir / "run-0" / "run_operations.sqlite3").unlink()
    backend.write([table(["a"], range(5))])
    with pytest.raises(FileNotFoundError, match="neptune sync"):
        backend.flush()
    backend.close("")


def test_steps_that_are_gone_start_the_backend_over(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, table(["a"], range(5)))
    (run.own_dir / "run-0" / "steps.jsonl").write_bytes(b"")
    with pytest.raises(StartOverError):
        opened(run, position)
    written(run, table(["a"], range(3)))
    (found,) = runs(run.own_dir)
    assert [step for step, _, _ in found.series["metrics/a"]] == [0, 1, 2]


def test_a_full_disk_is_told_and_nothing_is_dropped(tmp_path: Path):
    """The SDK's own way is to drop what it can't keep."""
    run = info(tmp_path)
    backend = opened(run)
    position = backend.flush()
    database = run.own_dir / "run-0" / "run_operations.sqlite3"
    with closing(sqlite3.connect(database, isolation_level=None)) as other:
        other.execute("PRAGMA max_page_count = 1")
        pages = other.execute("PRAGMA page_count").fetchone()[0]
    connection = backend._open_lineage().last.repository._connection
    assert connection is not None
    connection.execute(f"PRAGMA max_page_count = {pages}")
    backend.write([table([f"n{i}" for i in range(500)], range(50))])
    from neptune_scale.exceptions import NeptuneUnableToLogData

    with pytest.raises(NeptuneUnableToLogData):
        backend.flush()
    backend.close("")
    written(run, table(["a"], range(3)), position=position)
    (found,) = runs(run.own_dir)
    assert list(found.series) == ["metrics/a"]


THEIRS = """
import sys
from datetime import datetime
from neptune_scale import Run
from neptune_scale.types import File, Histogram
run = Run(project="lab/digits", run_id="theirs", experiment_name="run-1", mode="offline", log_directory=sys.argv[1],
    enable_console_log_capture=False, source_tracking_config=None)
at = datetime.fromtimestamp(1.7e9)
run.log_configs({"asynclog/world_size": 2, "asynclog/name": "run-1"})
run.add_tags(["a"])
run.log_metrics({"metrics/a": 0.5, "metrics/b": float("inf")}, step=3, timestamp=at)
run.log_configs({"params/lr": 0.1, "params/n": 3, "params/on": True, "params/text": "x"})
run.log_string_series({"media/said": "# hello"}, step=4, timestamp=at)
run.log_histograms({"media/spread": Histogram([0, 1, 2, 3], counts=[1, 2, 1])}, step=5, timestamp=at)
run.log_files({"media/seen": File(b"\\x89PNG", "image/png")}, step=6, timestamp=at)
run.close()
"""


def test_a_database_says_what_neptunes_own_run_says(tmp_path: Path):
    settings = {**os.environ, "NEPTUNE_LOGGER_LEVEL": "none"}
    subprocess.run([sys.executable, "-c", THEIRS, str(tmp_path / "theirs")], check=True, env=settings)
    store = Store()
    run = info(tmp_path, store)
    bins = np.array([0.0, 3.0, 4.0, 5.0, 11.0, 0.0, 1.0, 2.0, 3.0, 0.0, 1.0, 2.0, 1.0])
    at = 1.7e9
    written(
        run,
        replace(filled(["a", "b"], [3], np.array([[0.5, np.inf]])), times=np.array([at])),
        Params({"lr": 0.1, "n": 3, "on": True, "text": "x"}),
        Media("said", 4, at, "text", forms.MARKDOWN, {}, store.put(b"# hello")),
        Media("spread", 5, at, "histogram", forms.HISTOGRAM, {"n": 4}, store.put(bins.tobytes())),
        Media("seen", 6, at, "image", forms.PNG, {}, store.put(b"\x89PNG")),
        project="lab/digits",
        tags=("a",),
    )
    (theirs,) = (tmp_path / "theirs").glob("*/*.sqlite3")
    assert told(run.own_dir / "run-0" / "run_operations.sqlite3") == told(theirs)


def told(database: Path) -> list[str]:
    """A database's operations but for ids and clocks, in a form that is compared."""
    from neptune_scale.sync.operations_repository import OperationsRepository, OperationType

    repository = OperationsRepository(database)
    found = []
    for each in repository.get_operations(16 << 20):
        operation = each.operation
        if each.operation_type == OperationType.CREATE_RUN:
            operation.family = ""
            operation.ClearField("creation_time")
        elif not operation.append:
            operation.ClearField("timestamp")
        for value in operation.append.values() if each.operation_type == OperationType.UPDATE_SNAPSHOT else ():
            if value.HasField("file_ref"):
                value.file_ref.path = Path(value.file_ref.path).suffix
        found.append(str(operation))
    repository.close(cleanup_files=False)
    return sorted(found)
