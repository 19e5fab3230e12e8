"""Media in Comet, and archives beside those of Comet's own OfflineExperiment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from asynclogd.backends.base import (
    Media,
    Params,
    PermanentError,
    RunEnd,
    Summary,
)
from asynclogd.media import forms
from asynclogd.samples import filled
from tests.daemon.backends.cometworld import (
    archived,
    info,
    look_at,
    media,
    opened,
)
from tests.daemon.backends.mediastore import Store

pytestmark = pytest.mark.sdk


def test_media_are_in_the_tabs_of_their_kinds(tmp_path: Path):
    store = Store()
    run = info(tmp_path, store)
    backend = opened(run)
    backend.write([*media(store, tmp_path), RunEnd("success")])
    look_at(archived(run, backend.flush()))


def test_media_that_are_not_of_their_form_or_gone_are_refused_for_good(tmp_path: Path):
    store = Store()
    os.mkfifo(tmp_path / "pipe")
    backend = opened(info(tmp_path, store))
    for bad in (
        Media("h", 1, 1.7e9, "histogram", forms.HISTOGRAM, {"n": 2}, store.put(b"12345")),
        Media("t", 1, 1.7e9, "table", forms.JSON, {}, store.put(b"[]")),
        Media("g", 1, 1.7e9, "graph", forms.GRAPH, {}, store.put(b"\xff\xff\xff")),
        Media("f", 1, 1.7e9, "file", forms.BYTES, {"path": str(tmp_path / "gone")}, store.put(b"")),
        Media("p", 1, 1.7e9, "file", forms.BYTES, {"path": str(tmp_path / "pipe")}, store.put(b"")),
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
