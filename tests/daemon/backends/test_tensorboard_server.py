"""A real `tensorboard` on a run with media: what its HTTP API lists and serves."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tensorboard.compat.proto import graph_pb2

from asynclogd.testing import table
from tests.daemon.backends.mediastore import Store, written
from tests.tensorboardserver import Server

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 255, (3, 12, 16), np.uint8)
SOUND = RNG.random((1, 100)).astype(np.float32)
POINTS = RNG.random((1, 5, 3)).astype(np.float32)
RUN = "run-1/tensorboard"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    store = Store()
    graph = graph_pb2.GraphDef()
    graph.node.add(name="only", op="Identity")
    labels = {"labels": np.array([1, 0, 1]), "predictions": np.array([0.9, 0.2, 0.6])}
    written(
        store.run(tmp_path),
        table(["loss"], range(3)),
        store.item("picture", "image", {"caption": "of *noise*"}, 1, image=PICTURE),
        store.item("weights", "histogram", {}, 1, values=RNG.normal(size=500)),
        store.item("note", "text", {}, 1, text="**bold**"),
        store.item("noise", "audio", {"sample_rate": 8000}, 1, audio=SOUND),
        store.item("curve", "pr_curve", {}, 1, **labels),
        store.item("cloud", "mesh", {}, 1, vertices=POINTS),
        store.item("charts", "layout", layout='{"all": {"losses": ["Multiline", ["loss"]]}}'),
        store.item("model", "graph", graph=graph.SerializeToString()),
        store.item("words", "embedding", {}, 1, matrix=np.ones((4, 2)), metadata='["a", "b", "c", "d"]'),
    )
    running = Server(tmp_path)
    yield running
    running.end()


@pytest.mark.timeout(180)
def test_each_plugin_shows_its_kind(server: Server, eventually: Callable[..., None]) -> None:
    eventually(lambda: server.tags("images", RUN), deadline=120, what="TensorBoard with the run")
    images = server.tags("images", RUN)
    assert images["picture"]["description"] == "<p>of <em>noise</em></p>"
    (entry,) = json.loads(server.get("plugin/images/images", run=RUN, tag="picture", sample=0))
    shown = Image.open(io.BytesIO(server.get(f"plugin/images/individualImage?{entry['query']}&")))
    assert np.array_equal(np.asarray(shown), PICTURE.transpose(1, 2, 0))

    assert set(server.tags("histograms", RUN)) == {"weights"}
    ((_, step, bins),) = json.loads(server.get("plugin/histograms/histograms", run=RUN, tag="weights"))
    assert (step, sum(count for _, _, count in bins)) == (1, 500)

    assert server.tags("text", RUN) == ["note/text_summary"]
    (text,) = json.loads(server.get("plugin/text/text", run=RUN, tag="note/text_summary"))
    assert "<strong>bold</strong>" in text["text"]

    assert set(server.tags("audio", RUN)) == {"noise"}
    assert set(server.tags("pr_curves", RUN)) == {"curve"}
    assert json.loads(server.get("plugin/pr_curves/pr_curves", run=RUN, tag="curve"))[RUN][0]["recall"][0] == 1.0
    assert set(server.tags("mesh", RUN)) == {"cloud"}
    layout = json.loads(server.get("plugin/custom_scalars/layout"))
    assert layout["category"][0]["chart"][0]["multiline"]["tag"] == ["loss"]
    assert server.tags("graphs", RUN, "info")["run_graph"]
    assert b"only" in server.get("plugin/graphs/graph", run=RUN, conceptual=False)
    assert json.loads(server.get("plugin/projector/runs")) == [RUN]
    info = json.loads(server.get("plugin/projector/info", run=RUN))
    assert [found["tensorName"] for found in info["embeddings"]] == ["words:00001"]
    assert server.get("plugin/projector/metadata", run=RUN, name="words:00001") == b"a\nb\nc\nd\n"
