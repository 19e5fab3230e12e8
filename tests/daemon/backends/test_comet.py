"""Comet: archives as Comet's own uploader sends them, and experiments online; both to a server of ours on 127.0.0.1."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from asynclogd.backends._cometarchive import FOLDER, pack
from asynclogd.backends._cometnames import spelt
from asynclogd.backends._spelling import meant
from asynclogd.backends.base import (
    Media,
    Params,
    PermanentError,
    Position,
    Rewind,
    RunEnd,
    RunInfo,
    StartOverError,
    Summary,
    ThrottledError,
)
from asynclogd.backends.comet import CometBackend, CometConfig
from asynclogd.contractbase import MediaContent
from asynclogd.media import forms
from asynclogd.samples import filled
from asynclogd.testing import BackendContract, Content, table
from tests.daemon.backends import cometserver
from tests.daemon.backends.cometserver import KEY, Answer, Comet
from tests.daemon.backends.mediastore import Store

pytestmark = pytest.mark.sdk

NON_FINITE = {"NaN": float("nan"), "Infinity": float("inf"), "-Infinity": float("-inf")}


@pytest.fixture(autouse=True)
def _no_settings_of_this_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("COMET_CONFIG", str(tmp_path / "none"))
    for name in ("COMET_API_KEY", "COMET_WORKSPACE", "COMET_PROJECT_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def comet(monkeypatch: pytest.MonkeyPatch) -> Iterator[Comet]:
    with cometserver.running() as server:
        monkeypatch.setenv("COMET_URL_OVERRIDE", server.url)
        yield server


def uploaded(archive: Path) -> Comet:
    """What Comet's uploader makes of an archive, each of its messages valid by Comet's own schema."""
    with cometserver.running() as server, pytest.MonkeyPatch.context() as environment:
        environment.setenv("COMET_URL_OVERRIDE", server.url)
        environment.setenv("COMET_DISABLE_AUTO_LOGGING", "1")
        environment.setenv("COMET_ERROR_TRACKING_ENABLE", "false")
        hook = sys.excepthook
        from comet_ml import offline

        sys.excepthook = hook
        folder = offline.unzip_offline_archive(str(archive))
        sender = offline.OfflineSender(KEY, folder, False, raise_validation_error_for_tests=True)
        sender.send()
        sender.close()
    told = [state["error"] for state in server.states if state.get("error")]
    assert not [text for text in told if not text.startswith("the run ended")]
    return server


def points(server: Comet) -> Content:
    """Every value, each series by its steps, and by its times where a step comes again."""
    found = sorted(server.metrics, key=lambda each: (each["step"], each["timestamp"]))
    return [(meant(each["metricName"]), each["step"], number(each["metricValue"])) for each in found]


def number(value: Any) -> float:
    return NON_FINITE[value] if isinstance(value, str) else float(value)


def packed(run: RunInfo) -> Path:
    archive = run.own_dir.parent / "packed.zip"
    pack(run.own_dir / FOLDER, archive)
    return archive


class TestComet(BackendContract):
    many_names = 2500

    def make(self) -> CometBackend:
        return CometBackend(CometConfig())

    def read(self, run: RunInfo) -> Content:
        return points(uploaded(packed(run)))

    def read_media(self, run: RunInfo) -> MediaContent:
        sent = uploaded(packed(run)).uploads
        assert all(each.metadata for each in sent)
        return [(each.metadata["name"], int(each.params["step"]), each.data) for each in sent if each.metadata]


@pytest.mark.parametrize("names", [("\n",), ("a" * 101, "a" * 102), ("_0x5f_", "__0x5f_")])
def test_names_that_comet_would_change_are_spelt_otherwise(names: tuple[str, ...]):
    found = {spelt(name) for name in names}
    assert len(found) == len(names)
    assert all("\n" not in name and len(name) <= 100 for name in found)


@given(st.text(max_size=90))
def test_spelling_can_be_undone(name: str):
    if len(spelt(name)) < 100:
        assert meant(spelt(name)) == name


def info(directory: Path, store: Store | None = None) -> RunInfo:
    own = directory / "digits" / "run-1" / "comet"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", "run-1", own.parent, own, world=2, read_blob=None if store is None else store.read)


def opened(run: RunInfo, position: Position | None = None, **options: Any) -> CometBackend:
    backend = CometBackend(CometConfig(**options))
    backend.open(run, position)
    return backend


def archived(run: RunInfo, position: Position) -> Comet:
    return uploaded(run.own_dir / f"{position['key']}.zip")


def test_the_end_of_a_run_makes_the_archive_that_comet_uploads(tmp_path: Path):
    run = info(tmp_path)
    backend = opened(run, workspace="lab", tags=("a", "b"))
    epochs = filled(["loss", "epoch"], [0, 1], np.array([[0.5, 0.0], [0.25, 1.0]]))
    backend.write([Params({"lr": 0.1, "text": "x" * 2000, "none": None, "nan": float("nan")}), epochs])
    backend.write([Summary({"best": 0.25}), RunEnd("failed")])
    position = backend.flush()
    backend.close("failed")
    server = archived(run, position)
    (experiment,) = server.experiments
    assert (experiment["projectName"], experiment["teamName"], experiment["offline"]) == ("digits", "lab", True)
    assert server.tags == ["a", "b"]
    assert [(each["metricName"], each["step"], each["epoch"]) for each in server.metrics] == [
        ("loss", 0, 0), ("epoch", 0, 0), ("loss", 1, 1), ("epoch", 1, 1),
    ]  # fmt: skip
    assert server.metrics[2]["timestamp"] == 1_700_000_000_100
    assert server.params == {"lr": 0.1, "text": "x" * 999 + "…", "none": None, "nan": "NaN"}
    assert server.others["Name"] == "run-1"
    assert server.others["best"] == 0.25
    assert server.others["asynclog/status"] == "failed"
    assert "the run ended: failed" in [state.get("error") for state in server.states]
    times = next(body for path, body in server.told if path.endswith("offline-metadata"))
    assert (times["startTimestamp"], times["endTimestamp"]) == (1_700_000_000_000, 1_700_000_000_100)


def test_a_resumed_run_has_its_archive_made_anew_without_what_it_ran_again(tmp_path: Path):
    store = Store()
    run = info(tmp_path, store)
    image = store.item("digits", "image", {"dataformats": "HW"}, step=7, image=np.zeros((4, 4), np.uint8))
    backend = opened(run)
    backend.write([table(["a"], range(8)), image, RunEnd("killed")])
    position = backend.flush()
    backend.close("killed")
    again = opened(run, position)
    later = table(["a"], range(5, 10), 1, generation=1)
    again.write([Rewind(5, 1), later, replace(image, generation=1), RunEnd("success")])
    reached = again.flush()
    again.close("success")
    server = archived(run, reached)
    first = table(["a"], range(8))
    assert points(server) == [("a", s, v[0]) for s, _, v in first.rows() if s < 5] + [
        ("a", s, v[0]) for s, _, v in later.rows()
    ]
    assert len(server.uploads) == 1
    assert server.others["asynclog/rewind/1"] == 5
    assert not [state for state in server.states if state.get("error")]
    with zipfile.ZipFile(run.own_dir / f"{reached['key']}.zip") as archive:
        assert sorted(Path(name).suffix for name in archive.namelist()) == [".json", ".json", ".png"]


def test_late_points_and_revisions_are_kept_and_the_revision_is_the_later(tmp_path: Path):
    run = info(tmp_path)
    backend = opened(run)
    backend.write([table(["a"], [5, 9]), table(["a"], [3, 5], 1)])
    first = table(["a"], [5, 9])
    backend.write([replace(table(["a"], [9], 2, revision=True), times=first.times[1:])])
    backend.write([RunEnd("success")])
    server = archived(run, backend.flush())
    assert [step for _, step, _ in points(server)] == [3, 5, 5, 9, 9]
    assert points(server)[-1][2] == table(["a"], [9], 2).values[0, 0]


def test_messages_that_are_gone_start_the_backend_over(tmp_path: Path):
    run = info(tmp_path)
    backend = opened(run)
    backend.write([table(["a"], range(3))])
    position = backend.flush()
    backend.close("")
    (run.own_dir / FOLDER / "messages.json").write_bytes(b"")
    with pytest.raises(StartOverError):
        opened(run, position)
    opened(run, None).flush()


def media(store: Store, directory: Path) -> list[Media]:
    (directory / "weights.ckpt").write_bytes(b"weights")
    (directory / "logs").mkdir(exist_ok=True)
    (directory / "logs" / "a.txt").write_bytes(b"one")
    rng = np.random.default_rng(0)
    gone = store.put(b"")
    return [
        store.item("seen", "image", {"dataformats": "HW", "caption": "a *cat*"}, 1, image=np.zeros((4, 4), np.uint8)),
        store.item("heard", "audio", {"sample_rate": 8000}, 2, audio=np.zeros(80, np.float32)),
        store.item("said", "text", None, 3, text="# hello"),
        store.item("spread", "histogram", {"bins": "tensorflow"}, 4, values=rng.normal(size=500)),
        Media("cells", 5, 1.7e9, "table", forms.JSON, {}, store.put(b'{"columns":["a","b"],"rows":[[1,"x"]]}')),
        Media("curve", 6, 1.7e9, "pr_curve", forms.PR_CURVE, {}, store.put(np.arange(12, dtype="<f4").tobytes())),
        Media("page", 7, 1.7e9, "html", forms.HTML, {}, store.put(b"<p>")),
        Media("ckpt", 8, 1.7e9, "file", forms.BYTES, {"path": f"{directory}/weights.ckpt", "type": "model"}, gone),
        Media("logs", 9, 1.7e9, "file", forms.BYTES, {"path": str(directory / "logs")}, gone),
        Media("notes", 10, 1.7e9, "file", forms.BYTES, {"artifact": "n/notes.md"}, store.put(b"note")),
    ]  # fmt: skip


def look_at(sent: Comet) -> None:
    found = {int(each.params["step"]): each for each in sent.uploads}
    kinds = {step: each.type for step, each in sorted(found.items())}
    assert kinds == {
        1: "visualization", 2: "audio", 3: "text-sample", 4: "histogram3d", 5: "asset", 6: "curve", 7: "asset",
        8: "model-element", 9: "asset", 10: "asset",
    }  # fmt: skip
    assert found[1].params["figName"] == "seen"
    assert found[1].metadata == {"caption": "a *cat*"}
    assert found[1].data.startswith(b"\x89PNG")
    assert found[2].params["fileName"] == "heard.wav"
    assert found[3].data == b"# hello"
    assert found[5].data == b"a,b\n1,x\n"
    assert json.loads(found[6].data) == {"x": [10, 11], "y": [8, 9], "name": "curve"}
    assert (found[8].params["groupingName"], found[8].data) == ("ckpt", b"weights")
    assert (found[9].params["fileName"], found[9].data) == ("logs/logs/a.txt", b"one")
    assert (found[10].params["fileName"], found[10].data) == ("notes/notes.md", b"note")
    counts = json.loads(found[4].data)
    from comet_ml.data_structure import Histogram

    theirs = Histogram()
    theirs.add(np.random.default_rng(0).normal(size=500))
    assert counts == theirs.to_json()


def test_media_are_in_the_tabs_of_their_kinds(tmp_path: Path):
    store = Store()
    run = info(tmp_path, store)
    backend = opened(run)
    backend.write([*media(store, tmp_path), RunEnd("success")])
    look_at(archived(run, backend.flush()))


def test_media_that_are_not_of_their_form_or_gone_are_refused_for_good(tmp_path: Path):
    store = Store()
    backend = opened(info(tmp_path, store))
    for bad in (
        Media("h", 1, 1.7e9, "histogram", forms.HISTOGRAM, {"n": 2}, store.put(b"12345")),
        Media("t", 1, 1.7e9, "table", forms.JSON, {}, store.put(b"[]")),
        Media("g", 1, 1.7e9, "graph", forms.GRAPH, {}, store.put(b"\xff\xff\xff")),
        Media("f", 1, 1.7e9, "file", forms.BYTES, {"path": str(tmp_path / "gone")}, store.put(b"")),
    ):
        with pytest.raises(PermanentError):
            backend.write([bad])


def test_the_graph_is_tensorflows_as_json(tmp_path: Path):
    from tensorboard.compat.proto import graph_pb2, node_def_pb2

    store = Store()
    run = info(tmp_path, store)
    graph = graph_pb2.GraphDef(node=[node_def_pb2.NodeDef(name="layer", op="MatMul")]).SerializeToString()
    options = {"run_metadata": 3}
    backend = opened(run)
    item = Media("graph", 0, 1.7e9, "graph", forms.GRAPH, options, store.put(graph + b"xyz"))
    backend.write([item, RunEnd("success")])
    (text,) = archived(run, backend.flush()).graphs
    assert json.loads(text) == {"node": [{"name": "layer", "op": "MatMul"}]}


def test_an_archive_says_what_comets_own_offline_experiment_says(tmp_path: Path):
    """The same input through the SDK, in a process of its own for all that it hooks into."""
    code = """
import sys
from comet_ml import OfflineExperiment
from comet_ml.data_structure import Histogram
e = OfflineExperiment(project_name="digits", offline_directory=sys.argv[1], log_code=False, auto_param_logging=False,
    auto_metric_logging=False, parse_args=False, auto_output_logging=False, log_env_details=False,
    log_git_metadata=False, display_summary_level=0)
e.log_parameter("lr", 0.1)
e.log_metric("loss", 0.5, step=3, epoch=1)
e.log_metric("bad", float("inf"), step=3)
e.log_other("best", 0.25)
e.log_asset_data({"x": 1}, name="cells.json", step=4)
e.log_image(sys.argv[2], name="seen", step=5)
e.end()
"""
    (tmp_path / "seen.png").write_bytes(b"\x89PNG")
    settings = {**os.environ, "COMET_DISABLE_AUTO_LOGGING": "1", "COMET_ERROR_TRACKING_ENABLE": "false"}
    command = [sys.executable, "-c", code, str(tmp_path / "theirs"), str(tmp_path / "seen.png")]
    subprocess.run(command, check=True, env=settings, capture_output=True)
    store = Store()
    run = info(tmp_path, store)
    backend = opened(run)
    backend.write([
        filled(["loss", "epoch"], [3], np.array([[0.5, 1.0]])),
        filled(["bad"], [3], np.array([[np.inf]])),
        Params({"lr": 0.1}),
        Summary({"best": 0.25}),
        Media("cells", 4, 1.7e9, "layout", forms.JSON, {}, store.put(b'{"x": 1}')),
        Media("seen", 5, 1.7e9, "image", forms.PNG, {}, store.put(b"\x89PNG")),
        RunEnd("success"),
    ])  # fmt: skip
    ours = lines(run.own_dir / f"{backend.flush()['key']}.zip")
    theirs = lines(next((tmp_path / "theirs").glob("*.zip")))
    for kind, message in ours.items():
        assert shape(message) == shape(theirs[kind]), kind


def lines(archive: Path) -> dict[str, Any]:
    """One message of each kind, and of each name of metrics."""
    with zipfile.ZipFile(archive) as file:
        found = [json.loads(line) for line in file.read("messages.json").splitlines()]
    kinds = {}
    for message in found:
        payload = message["payload"]
        told = payload.get("metric", payload.get("param", {}))
        name = told.get("metricName") or told.get("paramName") or payload.get("key") or payload.get("upload_type")
        kinds[f"{message['type']} {name}"] = payload
    return {
        kind: payload
        for kind, payload in kinds.items()
        if kind.endswith(("loss", "bad", "lr", "best", "asset", "visualization"))
    }


VARIES = {"local_timestamp", "message_id", "file_path", "assetId", "imageId", "runId", "context", "epoch", "metadata"}


def shape(value: Any) -> Any:
    """A message without what is another in each run."""
    if isinstance(value, dict):
        return {key: shape(each) for key, each in value.items() if key not in VARIES and each is not None}
    return value


def test_online_everything_is_sent_and_what_is_told_is_the_runs(tmp_path: Path, comet: Comet, monkeypatch):
    monkeypatch.setenv("COMET_API_KEY", KEY)
    store = Store()
    run = info(tmp_path, store)
    backend = opened(run, workspace="lab", tags=("a",))
    assert not backend.local
    assert not (run.own_dir / FOLDER).exists()
    values = filled(["loss", "bad", "epoch"], [0, 1], np.array([[0.5, np.inf, 0.0], [np.nan, -0.0, 1.0]]))
    backend.write([Params({"lr": 0.1, "nan": float("nan")}), values, Summary({"best": 1.0})])
    backend.write(media(store, tmp_path))
    position = backend.flush()
    backend.write([RunEnd("failed")])
    backend.close("failed")
    (experiment,) = comet.experiments
    assert (experiment["experimentKey"], experiment["projectName"], experiment["teamName"]) == (
        position["key"], "digits", "lab",
    )  # fmt: skip
    assert comet.tags == ["a"]
    assert comet.params == {"lr": 0.1, "nan": "NaN"}
    assert [(each["metricName"], each["step"], each["epoch"], each["metricValue"]) for each in comet.metrics] == [
        ("loss", 0, 0, 0.5), ("bad", 0, 0, "Infinity"), ("epoch", 0, 0, 0.0),
        ("loss", 1, 1, "NaN"), ("bad", 1, 1, -0.0), ("epoch", 1, 1, 1.0),
    ]  # fmt: skip
    assert comet.others["Name"] == "run-1"
    assert comet.others["asynclog/status"] == "failed"
    assert comet.states[0]["is_alive"]
    assert (comet.states[-1]["hasCrashed"], comet.states[-1]["isAlive"]) == (True, False)
    look_at(comet)


def test_online_many_points_go_in_batches_that_comet_takes(tmp_path: Path, comet: Comet):
    backend = opened(info(tmp_path), online=True, url=comet.url, credentials_file=key_file(tmp_path))
    backend.write([table([f"n{i}" for i in range(1100)], range(2))])
    assert len(comet.metrics) == 2200
    backend.close("")


def test_online_a_resumed_run_goes_on_with_its_experiment(tmp_path: Path, comet: Comet):
    options: dict[str, Any] = {"url": comet.url, "credentials_file": key_file(tmp_path)}
    backend = opened(info(tmp_path), **options)
    position = backend.flush()
    backend.write([RunEnd("success")])
    backend.close("success")
    assert not comet.states[-1]["is_alive"]
    again = opened(info(tmp_path), position, **options)
    again.write([Rewind(1, 1), table(["a"], [1]), RunEnd("success")])
    again.close("success")
    assert len(comet.experiments) == 1
    assert [path for path, _ in comet.told] == ["/clientlib/logger/get/run"]
    assert comet.others["asynclog/rewind/1"] == 1
    assert [state["is_alive"] for state in comet.states].count(False) == 2


def test_comets_limits_are_those_of_its_server(tmp_path: Path):
    assert CometBackend(CometConfig()).default_rate_limit == {}
    online = CometBackend(CometConfig(online=True))
    assert online.default_rate_limit == {"*": 200.0}
    assert online.requires == ("comet_ml", "comet")


def test_an_experiment_stays_where_it_was_begun(tmp_path: Path, comet: Comet, monkeypatch: pytest.MonkeyPatch):
    position = opened(info(tmp_path)).flush()
    monkeypatch.setenv("COMET_API_KEY", KEY)
    again = opened(info(tmp_path), position)
    again.write([table(["a"], [1]), RunEnd("success")])
    assert (info(tmp_path).own_dir / f"{again.flush()['key']}.zip").is_file()
    assert not comet.experiments


def key_file(directory: Path, key: str = KEY) -> str:
    file = directory / "key.txt"
    file.write_text(f"{key}\n")
    return str(file)


def test_a_wrong_key_is_one_clear_error_without_the_key(tmp_path: Path, comet: Comet, capfd):
    wrong = "w" * 25
    with pytest.raises(PermanentError, match="refuses the API key") as refused:
        opened(info(tmp_path), url=comet.url, credentials_file=key_file(tmp_path, wrong))
    assert wrong not in str(refused.value)
    with pytest.raises(PermanentError, match="COMET_API_KEY"):
        opened(info(tmp_path), online=True, url=comet.url)
    with pytest.raises(PermanentError, match="credentials_file"):
        opened(info(tmp_path), online=True, url=comet.url, credentials_file=str(tmp_path / "none"))
    assert capfd.readouterr() == ("", "")


def test_what_the_server_says_becomes_what_the_sink_does(tmp_path: Path, comet: Comet):
    backend = opened(info(tmp_path), url=comet.url, credentials_file=key_file(tmp_path))
    path, points_ = "experiment/metric", [table(["a"], range(3))]
    comet.script(
        path, Answer(429, {"Retry-After": "7"}), Answer(503), Answer(400), Answer(500), Answer(401), Answer(None)
    )
    with pytest.raises(ThrottledError) as throttled:
        backend.write(points_)
    assert throttled.value.retry_after == 7
    with pytest.raises(ThrottledError):
        backend.write(points_)
    with pytest.raises(PermanentError):
        backend.write(points_)
    for _ in range(3):  # may be tried again
        with pytest.raises(Exception, match=r"500|401|Connection") as failed:
            backend.write(points_)
        assert not isinstance(failed.value, (PermanentError, ThrottledError))
    assert not comet.metrics
    backend.write(points_)
    assert len(comet.metrics) == 3


def test_an_upload_that_is_refused_is_known(tmp_path: Path, comet: Comet):
    store = Store()
    backend = opened(info(tmp_path, store), url=comet.url, credentials_file=key_file(tmp_path))
    comet.script("asset/upload", Answer(413), Answer(429))
    page = [Media("page", 7, 1.7e9, "html", forms.HTML, {}, store.put(b"<p>"))]
    with pytest.raises(PermanentError):
        backend.write(page)
    with pytest.raises(ThrottledError):
        backend.write(page)
    backend.write(page)
    assert len(comet.uploads) == 1


def test_a_server_that_is_away_is_tried_again(tmp_path: Path):
    with pytest.raises(Exception, match="Connection") as failed:
        opened(info(tmp_path), url="http://127.0.0.1:9/clientlib/", credentials_file=key_file(tmp_path))
    assert not isinstance(failed.value, PermanentError)


def test_the_sdk_changes_nothing_in_this_process(tmp_path: Path):
    """In a process of its own: the import is done once."""
    code = """
import atexit, logging, signal, sys, threading
from pathlib import Path
from asynclogd.backends.base import RunInfo, RunEnd
from asynclogd.backends.comet import CometBackend, CometConfig
from tests.daemon.backends import cometserver

before = sys.excepthook, list(sys.meta_path), [signal.getsignal(each) for each in (2, 15)], sys.stdout, sys.stderr
own = Path(sys.argv[1]); own.mkdir()
offline = CometBackend(CometConfig(online=False))
offline.open(RunInfo("p", "r", own, own), None)
offline.flush(); offline.close("")
assert "comet_ml" not in sys.modules
(own / "key.txt").write_text(cometserver.KEY)
with cometserver.running() as server:
    backend = CometBackend(CometConfig(url=server.url, credentials_file=str(own / "key.txt")))
    backend.open(RunInfo("p", "r", own, own), None)
    threads = [each.name for each in threading.enumerate() if "process_request" not in each.name]
    assert len(threads) == 2, threads  # this one and the server's
    backend.write([RunEnd("success")]); backend.flush(); backend.close("")
assert "comet_ml" in sys.modules
after = sys.excepthook, sys.meta_path, [signal.getsignal(each) for each in (2, 15)], sys.stdout, sys.stderr
assert before[0] is after[0] and before[2:] == after[2:]
assert not [each for each in after[1] if "comet" in type(each).__module__]
assert not logging.getLogger("comet_ml").handlers
"""
    settings = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, str(tmp_path / "own")]
    done = subprocess.run(
        command, env=settings, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[3]
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
