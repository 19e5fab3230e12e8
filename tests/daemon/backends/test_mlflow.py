from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.backends._artifacts import artifact_path
from asynclogd.backends._mlflownames import LIMIT, spelt
from asynclogd.backends._mlflowplace import by_variable, had
from asynclogd.backends._spelling import meant
from asynclogd.backends.base import Blob, Media, Params, PermanentError, RunEnd, RunInfo, Summary
from asynclogd.backends.mlflow import MlflowBackend, MlflowConfig
from asynclogd.media import forms
from asynclogd.media.store import MediaStore
from asynclogd.testing import table

ALLOWED = st.text(min_size=1, max_size=60)


@given(ALLOWED)
def test_spelling_can_be_undone(name: str):
    if len(spelt(name)) < LIMIT:
        assert meant(spelt(name)) == name


@given(st.text("_0x5f25/.ab%", min_size=1, max_size=12), st.text("_0x5f25/.ab%", min_size=1, max_size=12))
def test_no_two_names_are_spelt_alike(one: str, other: str):
    assert (spelt(one) == spelt(other)) == (one == other)


def test_usual_names_stay_as_they_are():
    for name in ("loss", "train/loss", "val_x", "lr-Adam.pg1", "a: b", "größe"):
        assert spelt(name) == name
    assert spelt("a@b") == "a_0x40_b"
    assert spelt("n" * 300) != spelt("n" * 301)
    assert len(spelt("@" * 300)) == LIMIT


@pytest.mark.mlflow
@given(st.text(min_size=1, max_size=300))
def test_mlflow_takes_what_is_spelt(name: str):
    from mlflow.utils.validation import _validate_metric_name

    _validate_metric_name(spelt(name))
    assert len(spelt(name)) <= LIMIT


def info(directory: Path) -> RunInfo:
    own = directory / "run-1" / "mlflow"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", "run-1", own.parent, own, world=2)


def opened(run: RunInfo, position=None, **options) -> MlflowBackend:
    backend = MlflowBackend(MlflowConfig(**options))
    backend.open(run, position)
    return backend


def found(backend_uri: str, run_id: str):
    import mlflow

    return mlflow.MlflowClient(backend_uri).get_run(run_id)


@pytest.mark.mlflow
def test_sending_again_changes_nothing(tmp_path: Path, database: str):
    import mlflow

    run, points = info(tmp_path), table(["a", "b"], range(700))
    backend = opened(run, tracking_uri=database)
    for _ in range(3):
        backend.write([Params({"lr": 0.1}), points, Summary({"best": 1.0}), RunEnd("success")])
    position = backend.flush()
    history = mlflow.MlflowClient(database).get_metric_history(position["run"], "a")
    assert [(metric.step, metric.value) for metric in history] == [(step, value[0]) for step, _, value in points.rows()]
    assert history[3].timestamp == 1_700_000_000_300


@pytest.mark.mlflow
def test_a_run_may_be_named_nested_or_one_that_is_there(tmp_path: Path, database: str):
    parent = opened(info(tmp_path / "parent"), tracking_uri=database, run_name="the sweep").flush()["run"]
    child = opened(info(tmp_path / "child"), tracking_uri=database, parent_run_id=parent).flush()["run"]
    assert found(database, parent).info.run_name == "the sweep"
    assert found(database, child).data.tags["mlflow.parentRunId"] == parent
    again = opened(info(tmp_path / "again"), tracking_uri=database, run_id=child, run_name="new", tags={"team": "blue"})
    again.write([table(["a"], [3])])
    assert again.flush() == {"run": child}
    assert (found(database, child).info.run_name, found(database, child).data.tags["team"]) == ("new", "blue")
    assert "a" in found(database, child).data.metrics
    with pytest.raises(PermanentError, match=r"run_id.*0123"):
        opened(info(tmp_path / "none"), tracking_uri=database, run_id="0123" * 8)


@pytest.mark.mlflow
@pytest.mark.parametrize("status", ["killed", "interrupted"])
def test_params_tags_status_and_resume(tmp_path: Path, database: str, status: str):
    run = info(tmp_path)
    backend = opened(run, tracking_uri=database, experiment="mine", tags={"team": "blue"})
    backend.write([Params({"lr": 0.1, "text": "x" * 9000, "a@b": None}), Summary({"best": 0.5})])
    backend.write([table(["a"], [0]), RunEnd(status)])
    position = backend.flush()
    backend.close(status)
    first = found(database, position["run"])
    assert first.info.status == "KILLED"
    assert first.info.run_name == "run-1"
    assert first.data.params["lr"] == "0.1"
    assert first.data.params["a_0x40_b"] == "None"
    assert len(first.data.params["text"]) == 6000
    assert first.data.tags["summary.best"] == "0.5"
    assert first.data.tags["team"] == "blue"
    assert first.data.tags["asynclog.world_size"] == "2"
    backend = opened(run, position, tracking_uri=database)
    assert found(database, position["run"]).info.status == "KILLED"
    backend.write([Params({"lr": 0.2}), table(["a"], [1])])
    resumed = found(database, position["run"])
    assert resumed.info.status == "RUNNING"
    assert (resumed.data.params["lr"], resumed.data.tags["param.lr"]) == ("0.1", "0.2")
    backend.write([RunEnd("success")])
    assert found(database, position["run"]).info.status == "FINISHED"


def item(store: MediaStore, data: bytes, kind: str, form: str, step: int = 3, **options: Any) -> Media:
    return Media(f"my {kind}", step, 1.7e9, kind, form, options, store.append(data))


@pytest.mark.mlflow
def test_media_are_artifacts_and_sent_again_they_replace_themselves(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
):
    import mlflow

    store = MediaStore(tmp_path / "store")
    run = replace(info(tmp_path), read_blob=store.read)
    bins = np.array([0.0, 2.0, 3.0, 3.0, 5.0, 1.0, 2.0, 1.0, 2.0])
    (tmp_path / "model.ckpt").write_bytes(b"weights")
    (tmp_path / "logs" / "deep").mkdir(parents=True)
    (tmp_path / "logs" / "a.txt").write_bytes(b"one")
    (tmp_path / "logs" / "deep" / "b.txt").write_bytes(b"two")
    (tmp_path / "logs" / "dangling").symlink_to("nowhere")
    os.mkfifo(tmp_path / "logs" / "pipe")
    media = [
        item(store, b"\x89PNG...", "image", forms.PNG),
        item(store, bins.tobytes(), "histogram", forms.HISTOGRAM, n=2),
        item(store, np.arange(12, dtype="<f4").tobytes(), "pr_curve", forms.PR_CURVE),
        item(store, b'{"columns":["a","b"],"rows":[[1,"x"],[2,"y"]]}', "table", forms.JSON),
        item(store, b"zip", "file", forms.BYTES, artifact="notes/data.zip"),
        item(store, b"", "file", forms.BYTES, path=str(tmp_path / "model.ckpt")),
        item(store, b"", "file", forms.BYTES, path=str(tmp_path / "logs")),
    ]
    backend = opened(run, tracking_uri=database, experiment="media")
    for _ in range(2):
        backend.write([table(["a"], [0]), *media])
    position = backend.flush()
    backend.close("")
    backend = opened(run, position, tracking_uri=database, experiment="media")
    backend.write(media)
    client = mlflow.MlflowClient(database)
    found = client.get_run(position["run"])
    root = Path(found.info.artifact_uri.removeprefix("file://"))
    assert root.is_relative_to(run.own_dir)
    content = {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    assert content.pop("media/my image/step_3.png") == b"\x89PNG..."
    assert json.loads(content.pop("media/my histogram/step_3.json")) == {
        "min": 0, "max": 2, "num": 3, "sum": 3, "sum_squares": 5, "edges": [1, 2], "counts": [1, 2],
    }  # fmt: skip
    assert json.loads(content.pop("media/my pr_curve/step_3.json"))["recall"] == [10, 11]
    assert content.pop("media/my file/step_3/data.zip") == b"zip"
    assert content.pop("media/my file/step_3/model.ckpt") == b"weights"
    assert content.pop("media/my file/step_3/logs/a.txt") == b"one"
    assert content.pop("media/my file/step_3/logs/deep/b.txt") == b"two"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    shown = client.load_table(found.info.experiment_id, "media/my table/step_3.json", [position["run"]])
    assert shown.to_dict("list") == {"a": [1, 2], "b": ["x", "y"]}
    assert list(content) == ["media/my table/step_3.json"]


@pytest.mark.mlflow
def test_media_that_are_not_of_their_form_or_gone_are_refused_for_good(tmp_path: Path, database: str):
    store = MediaStore(tmp_path / "store")
    backend = opened(replace(info(tmp_path), read_blob=store.read), tracking_uri=database)
    for bad in (
        item(store, b"12345", "histogram", forms.HISTOGRAM, n=2),
        item(store, b"12345", "pr_curve", forms.PR_CURVE),
        item(store, b"[]", "table", forms.JSON),
        item(store, b"", "file", forms.BYTES, path=str(tmp_path / "gone")),
    ):
        with pytest.raises(PermanentError):
            backend.write([bad])


@given(st.text(min_size=1, max_size=300).filter(lambda name: name.encode(errors="ignore").decode() == name))
def test_a_path_of_an_artifact_stays_in_its_directory(name: str):
    path = artifact_path(Media(name, 1, 0.0, "text", forms.MARKDOWN, {}, Blob("", 1, 0, 0)))
    assert path.isascii()
    parts = path.split("/")
    assert parts[0] == "media"
    assert parts[-1] == "step_1.md"
    assert len(parts) == 3 + name.count("/")
    assert all(part and part.strip(".") and len(part) <= 120 for part in parts)


@pytest.mark.mlflow
def test_what_mlflow_calls_invalid_is_permanent(tmp_path: Path, database: str):
    backend, points = opened(info(tmp_path), tracking_uri=database), table(["a"], [0])
    with pytest.raises(PermanentError, match="timestamp"):
        backend.write([replace(points, times=points.times - 1e10)])


@pytest.mark.mlflow
def test_mlflows_own_variables_hold_where_an_option_is_not_given(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "by variable")
    run, client = info(tmp_path), mlflow.MlflowClient(database)
    position = opened(run).flush()
    other = opened(info(tmp_path / "other"), experiment="by option").flush()
    for where, name in ((position, "by variable"), (other, "by option")):
        assert client.get_run(where["run"]).info.experiment_id == client.get_experiment_by_name(name).experiment_id
    assert not (run.own_dir / "mlflow.db").exists()
    assert opened(run, position).flush() == position
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert opened(run, position).flush() == position
    secret = {"run": position["run"], "uri": "env:MLFLOW_TRACKING_URI"}
    with pytest.raises(PermanentError, match="the daemon has no MLFLOW_TRACKING_URI"):
        opened(run, secret)
    with pytest.raises(PermanentError, match="the daemon has no MY_MLFLOW"):
        opened(run, tracking_uri="env:MY_MLFLOW")
    monkeypatch.setenv("MY_MLFLOW", database)
    assert opened(run, position, tracking_uri="env:MY_MLFLOW").flush() == {"run": position["run"]}
    monkeypatch.setenv("MLFLOW_TRACKING_URI", database)
    assert opened(run, secret).flush() == secret
    assert opened(run, position).look(run) == f"mlflow ui --backend-store-uri {database}"


def test_a_variable_with_a_password_is_named_in_the_position(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "postgresql://me:se/cret@host/db")
    named = "env:MLFLOW_TRACKING_URI=postgresql://me:@host/db"
    assert by_variable() == named
    assert had(named) == "postgresql://me:se/cret@host/db"


@pytest.mark.mlflow
def test_an_address_that_another_process_meant_is_not_taken_for_the_daemons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:secret-a@host/a.mlflow")
    with pytest.raises(PermanentError, match=r"is not https://me:@host/b\.mlflow: set it there") as caught:
        opened(info(tmp_path), tracking_uri="env:MLFLOW_TRACKING_URI=https://me:@host/b.mlflow")
    assert "secret" not in str(caught.value)


@pytest.mark.mlflow
def test_what_the_daemons_variable_says_is_of_its_directory_and_a_run_goes_on_there_from_another(
    tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
):
    file = Path(database.removeprefix("sqlite:///"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{file.name}")
    monkeypatch.chdir(file.parent)
    run = info(tmp_path)
    position = opened(run).flush()
    assert position["uri"] == database
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    backend = opened(run, position)
    assert backend.flush() == position
    assert backend.look(run) == f"mlflow ui --backend-store-uri {database}"
    assert not (tmp_path / file.name).exists()


@pytest.mark.mlflow
def test_an_sqlite_file_may_be_said_with_its_driver_or_as_a_uri(tmp_path: Path, database: str):
    file = database.removeprefix("sqlite:///")
    for number, uri in enumerate((f"sqlite+pysqlite:///{file}", f"sqlite:///file:{file}?uri=true")):
        run = info(tmp_path / str(number))
        backend = opened(run, tracking_uri=uri, experiment=f"as a file {number}")
        assert backend.local
        place = found(database, backend.flush()["run"]).info.artifact_uri
        assert place.startswith((run.own_dir / "artifacts").as_uri())


@pytest.mark.mlflow
def test_a_run_that_began_without_them_goes_on_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    run = info(tmp_path)
    position = opened(run).flush()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert not MlflowBackend(MlflowConfig()).local
    assert opened(run, position).flush() == position


@pytest.mark.mlflow
def test_a_directory_is_a_file_store_with_the_systems_metrics_where_mlflow_shows_them(tmp_path: Path):
    import mlflow

    run, uri = info(tmp_path), f"file://{tmp_path}/mlruns"
    points = table(["train/loss", "system/cpu_percent"], range(30))
    backend = opened(run, tracking_uri=uri)
    backend.write([Params({"lr": 0.1}), points, RunEnd("success")])
    position = backend.flush()
    backend.close("success")
    client = mlflow.MlflowClient(uri)
    for column, name in enumerate(["train/loss", "system/cpu_percent"]):
        history = client.get_metric_history(position["run"], name)
        expected = [(step, value[column]) for step, _, value in points.rows()]
        assert [(metric.step, metric.value) for metric in history] == expected
    there = client.get_run(position["run"])
    assert (there.info.status, there.data.params) == ("FINISHED", {"lr": "0.1"})
    assert (tmp_path / "mlruns").is_dir()
    assert opened(run, position, tracking_uri=uri).flush() == position


@pytest.mark.mlflow
def test_local_is_what_stays_on_this_machine():
    assert MlflowBackend(MlflowConfig()).local
    assert MlflowBackend(MlflowConfig(tracking_uri="file:///tmp/x")).local
    assert not MlflowBackend(MlflowConfig(tracking_uri="http://127.0.0.1:5000")).local
    assert not MlflowBackend(MlflowConfig(tracking_uri="env:NONE")).local
