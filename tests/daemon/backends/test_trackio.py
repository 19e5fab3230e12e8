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
    Item,
    Params,
    PermanentError,
    Position,
    Rewind,
    RunEnd,
    RunInfo,
    Summary,
)
from asynclogd.backends.trackio import TrackioBackend, TrackioConfig
from asynclogd.contractbase import MediaContent
from asynclogd.media import forms
from asynclogd.media.store import MediaStore
from asynclogd.samples import content, table
from asynclogd.testing import BackendContract, Content
from tests.daemon.backends.mediastore import Store


class TestTrackio(BackendContract):
    def make(self) -> Backend:
        return TrackioBackend()

    def read(self, run: RunInfo) -> Content:
        return [(name, step, value) for name, step, value in rows(run) if isinstance(value, float)]

    def read_media(self, run: RunInfo) -> MediaContent:
        return [(name, step, value["_value"].encode()) for name, step, value in rows(run) if isinstance(value, dict)]


def logs(run: RunInfo) -> list[dict[str, Any]]:
    """The run's rows as trackio's API and dashboard have them."""
    from trackio.sqlite_storage import SQLiteStorage

    found: list[dict[str, Any]] = SQLiteStorage.get_logs(run.project, run.name, run_id=run_id(run))
    return found


def rows(run: RunInfo) -> list[tuple[str, int, Any]]:
    from asynclogd.backends._trackiorows import name_of

    own = {"timestamp", "step"}
    return [(name_of(key), row["step"], row[key]) for row in logs(run) for key in row if key not in own]


def run_id(run: RunInfo) -> str:
    return (run.own_dir / "token").read_text()


def listed(run: RunInfo) -> Any:
    import trackio

    (found,) = [each for each in trackio.Api().runs(run.project) if each.id == run_id(run)]
    return found


def info(directory: Path, name: str = "run-1") -> RunInfo:
    own = directory / name / "trackio"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", name, own.parent, own, world=2)


def written(run: RunInfo, *batches: list[Item], position: Position | None = None, **options: str) -> Position:
    """Open, write and flush each batch, close."""
    backend = TrackioBackend(TrackioConfig(**options))
    backend.open(run, position)
    position = backend.flush()
    for items in batches:
        backend.write(items)
        position = backend.flush()
    backend.close("")
    return position


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


def test_media_are_of_trackios_kinds(tmp_path: Path):
    from trackio.utils import MEDIA_DIR

    store = Store()
    run = replace(info(tmp_path, "media"), read_blob=store.read)
    picture = np.full((4, 4, 3), 200, np.uint8)
    items = [
        store.item("picture", "image", {"caption": "grey"}, 3, image=picture),
        store.item("sound", "audio", {"sample_rate": 8000}, 3, audio=np.zeros(80, np.float32)),
        store.item("numbers", "histogram", {}, 3, values=np.array([0.0, 1.0, 1.0, 2.0])),
    ]
    written(run, [table(["a"], [3]), *items], [*items])
    shown = {name: value for name, _, value in rows(run) if isinstance(value, dict)}
    kind = {"picture": "trackio.image", "sound": "trackio.audio", "numbers": "trackio.histogram"}
    assert {name: value["_type"] for name, value in shown.items()} == kind
    assert shown["picture"]["caption"] == "grey"
    for item in items[:2]:
        assert (MEDIA_DIR / shown[item.name]["file_path"]).read_bytes() == store.read(item.blob)
    bins, counts = shown["numbers"]["bins"], shown["numbers"]["values"]
    assert len(bins) == len(counts) + 1
    assert sum(counts) == 4


def test_tables_texts_and_files(tmp_path: Path):
    from trackio.utils import MEDIA_DIR

    store = MediaStore(tmp_path / "store")
    run = replace(info(tmp_path, "files"), read_blob=store.read)
    (tmp_path / "large").mkdir()
    (tmp_path / "large" / "model.ckpt").write_bytes(b"weights")

    def item(kind: str, form: str, data: bytes, **options: Any) -> Any:
        from asynclogd.backends.base import Media

        return Media(f"my {kind}", 3, 1.7e9, kind, form, options, store.append(data))

    media = [
        item("table", forms.JSON, b'{"columns":["a","b"],"rows":[[1,"x"],[2,"y"]]}'),
        item("text", forms.MARKDOWN, b"# hello"),
        item("html", forms.HTML, b"<b>hello</b>"),
        item("file", forms.BYTES, b"zip", artifact="notes/data.zip"),
        item("mesh", forms.MESH, b"triangles"),
        item("file", forms.BYTES, b"", path=str(tmp_path / "large" / "model.ckpt")),
        item("file", forms.BYTES, b"", path=str(tmp_path / "large")),
    ]
    written(run, media)
    shown = {name: value for name, _, value in rows(run)}
    assert shown["my table"] == {"_type": "trackio.table", "_value": [{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]}
    assert shown["my text"] == {"_type": "trackio.markdown", "_value": "# hello"}
    assert (MEDIA_DIR / shown["my html"]["file_path"]).read_bytes() == b"<b>hello</b>"
    files = MEDIA_DIR / "digits" / "files" / "files" / "media"
    found = {str(path.relative_to(files)): path.read_bytes() for path in files.rglob("*") if path.is_file()}
    assert found == {
        "my file/step_3/data.zip": b"zip",
        "my file/step_3/model.ckpt": b"weights",
        "my file/step_3/large/model.ckpt": b"weights",
        "my mesh/step_3.mesh": b"triangles",
    }
    with pytest.raises(PermanentError, match="is not there any more"):
        written(run, [item("file", forms.BYTES, b"", path=str(tmp_path / "gone"))])
    with pytest.raises(PermanentError, match="not of its form"):
        written(run, [item("table", forms.JSON, b"{")])


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
