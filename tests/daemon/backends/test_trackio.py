"""Trackio, read back by its own API. Its directory is the process's, see conftest.py."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.backends.base import (
    Backend,
    Params,
    PermanentError,
    Rewind,
    RunEnd,
    RunInfo,
    Summary,
)
from asynclogd.backends.trackio import TrackioBackend, TrackioConfig
from asynclogd.contractbase import MediaContent
from asynclogd.samples import content, table
from asynclogd.testing import Content
from tests.daemon.backends.fulldisk import FullDiskContract
from tests.daemon.backends.trackioruns import info, logs, rows, run_id, written

pytestmark = pytest.mark.sdk


class TestTrackio(FullDiskContract):
    def make(self) -> Backend:
        return TrackioBackend()

    def read(self, run: RunInfo) -> Content:
        return [(name, step, value) for name, step, value in rows(run) if isinstance(value, float)]

    def read_media(self, run: RunInfo) -> MediaContent:
        return [(name, step, value["_value"].encode()) for name, step, value in rows(run) if isinstance(value, dict)]


def listed(run: RunInfo) -> Any:
    import trackio

    (found,) = [each for each in trackio.Api().runs(run.project) if each.id == run_id(run)]
    return found


def test_the_api_lists_the_run_with_its_config(tmp_path: Path):
    run = info(tmp_path)
    params = Params({"lr": 0.1, "_hidden": 1, "%5Fhidden": 2, "none": None, "nan": math.nan})
    position = written(run, [params, Summary({"best": 0.5})], [RunEnd("killed")], group="sweep")
    found = listed(run)
    assert found.name == "run-1"
    config = found.config
    assert math.isnan(config.pop("nan"))
    assert config.pop("_Created")
    assert config == {
        "_Group": "sweep", "asynclog.world_size": 2, "asynclog.status": "killed",
        "lr": 0.1, "%5Fhidden": 1, "%255Fhidden": 2, "none": None, "summary.best": 0.5,
    }  # fmt: skip
    assert rows(run) == []
    written(run, [Params({"lr": 0.2}), RunEnd("success")], position=position)
    config = listed(run).config
    assert (config["lr"], config["asynclog.status"], config["_Group"]) == (0.2, "success", "sweep")


def test_times_are_those_of_the_points_and_late_steps_are_shown(tmp_path: Path):
    run = info(tmp_path)
    written(run, [table(["a"], [5, 6])], [replace(table(["a"], [2]), times=np.array([1.7e9 + 0.25]))])
    shown = [row for row in logs(run) if "a" in row]
    assert [(row["step"], row["timestamp"]) for row in shown] == [
        (2, "2023-11-14T22:13:20.250000+00:00"),
        (5, "2023-11-14T22:13:20.500000+00:00"),
        (6, "2023-11-14T22:13:20.600000+00:00"),
    ]


def test_a_revision_leaves_one_value_and_the_rows_other_values(tmp_path: Path):
    run = info(tmp_path)
    late = table(["a"], [1, 2], 9, revision=True)
    written(run, [table(["a", "b"], range(3)), table(["a"], [9])], [late, table(["a"], [9], 3, revision=True)])
    values = {(name, step): value for name, step, value in rows(run)}
    assert len(values) == len(rows(run)) == 7
    for name, step, value in content([late]):
        assert values[name, step] == value


def test_a_rewind_deletes_what_is_run_again(tmp_path: Path):
    run = info(tmp_path)
    position = written(run, [table(["a"], range(9)), Params({"lr": 1})])
    written(run, [Rewind(0, 1), table(["a"], range(3), 1)], position=position)
    assert [step for _, step, _ in rows(run)] == [0, 1, 2]
    assert listed(run).config["lr"] == 1


def test_trackios_own_keys_are_moved_as_its_run_does(tmp_path: Path):
    import trackio

    run = info(tmp_path)
    names = ["step", "time", "timestamp", "project", "run", "metrics", "__x", "_step"]
    written(run, [table(names, [4])])
    direct = trackio.Run(url=None, project="direct", client=None, name="direct")
    with pytest.warns(UserWarning, match="Reserved keys renamed"):
        direct.log(dict.fromkeys(names, 1.0), step=4)
    direct.finish()
    from trackio.sqlite_storage import SQLiteStorage

    (wanted,) = SQLiteStorage.get_logs("direct", "direct", run_id=direct.id)
    (found,) = [row for row in logs(run) if len(row) > 2]
    assert set(found) == set(wanted)


@given(st.lists(st.text("_%5Fstep/", min_size=1, max_size=6), min_size=2, max_size=2, unique=True))
def test_no_two_names_become_one(names: list[str]):
    from asynclogd.backends._trackiorows import key, name_of
    from asynclogd.backends.trackio import _plain

    assert [name_of(key(name)) for name in names] == names
    assert len({_plain(name) for name in names}) == 2


def test_runs_of_one_name_stay_apart(tmp_path: Path):
    one, other = info(tmp_path / "one"), info(tmp_path / "other")
    written(one, [table(["a"], range(3))])
    written(other, [table(["a"], range(5))])
    assert (len(rows(one)), len(rows(other))) == (3, 5)


def test_a_project_that_trackio_does_not_take_is_one_clear_error(tmp_path: Path):
    with pytest.raises(PermanentError, match="reserved"):
        TrackioBackend(TrackioConfig(project="registry-models")).open(info(tmp_path), None)
    run = info(tmp_path)
    written(run, [table(["a"], [1])], project="a project of mine!")
    from trackio.sqlite_storage import SQLiteStorage

    assert SQLiteStorage.get_logs("a project of mine!", run.name, run_id=run_id(run))


def test_another_directory_than_the_process_has_is_refused(tmp_path: Path):
    with pytest.raises(PermanentError, match="one directory for a process"):
        TrackioBackend(TrackioConfig(dir=str(tmp_path))).open(info(tmp_path), None)


CHILD = """
import json, os, sys
from pathlib import Path
from asynclogd.backends.base import RunInfo
from asynclogd.backends.trackio import TrackioBackend, TrackioConfig
from asynclogd.samples import table
own = Path(sys.argv[1])
backend = TrackioBackend(TrackioConfig(dir=sys.argv[2]))
backend.open(RunInfo("digits", "run-1", own.parent, own), None)
backend.write([table(["a"], range(5))])
backend.flush()
backend.write([table(["a"], range(5, 9))])
os.kill(os.getpid(), 9)
"""


def test_trackios_own_command_finds_the_run_of_a_process_that_was_killed(tmp_path: Path):
    run, home = info(tmp_path), str(tmp_path / "home")
    environment = {**os.environ, "TRACKIO_BUCKET_ID": "nobody/nothing", "HTTPS_PROXY": "http://127.0.0.1:1"}
    environment.pop("TRACKIO_DIR")
    subprocess.run([sys.executable, "-c", CHILD, str(run.own_dir), home], env=environment, check=False)
    command = [sys.executable, "-m", "trackio.cli", "get", "run", "--project", "digits", "--run", "run-1", "--json"]
    told = subprocess.run(command, env={**os.environ, "TRACKIO_DIR": home}, check=True, capture_output=True, text=True)
    found = json.loads(told.stdout)
    assert (found["metrics"], found["last_step"], found["num_logs"]) == (["a"], 4, 6)
