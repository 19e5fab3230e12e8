"""SummaryWriter's media beside torch's, as TensorBoard reads them: pixels, samples, bins, text, nodes, plugin data."""

from __future__ import annotations

import io
import json
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
plt = pytest.importorskip("matplotlib.pyplot")

from PIL import Image  # noqa: E402 - what is missing above skips the file
from tensorboard.plugins.custom_scalar.layout_pb2 import Layout  # noqa: E402
from tensorboard.plugins.mesh.plugin_data_pb2 import MeshPluginData  # noqa: E402
from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig  # noqa: E402

import asynclog  # noqa: E402
from asynclog import AsynclogWarning  # noqa: E402
from asynclog.process import RUNS  # noqa: E402
from tests.client.eventfiles import accumulated, values, written  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("error::asynclog.AsynclogWarning")]

RANDOM = np.random.default_rng(0)
FLOATS = RANDOM.random((3, 12, 20)).astype(np.float32)
BYTES = (FLOATS * 255).astype(np.uint8)


@pytest.fixture(autouse=True)
def _ended(runtime_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(RUNS, "current", None)
    plt.switch_backend("agg")
    yield
    RUNS.finish_all("success", 10)


def pictures(directory: Path) -> dict[str, tuple[int, np.ndarray]]:
    """(step, RGB pixels) by tag."""
    found = {}
    for tag, ((step, _, array),) in values(directory, "images").items():
        _, _, encoded = array.tolist()
        found[tag] = step, np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    return found


def check_alike(theirs: dict[str, tuple[int, np.ndarray]], ours: dict[str, tuple[int, np.ndarray]]) -> None:
    assert set(ours) == set(theirs) != set()
    for tag, (step, pixels) in theirs.items():
        assert ours[tag][0] == step, tag
        np.testing.assert_array_equal(ours[tag][1], pixels, tag)


def test_images_have_torchs_pixels(tmp_path):
    def add(writer: Any) -> None:
        writer.add_image("float CHW", FLOATS, 3)
        writer.add_image("beyond 0 and 1", torch.from_numpy(FLOATS) * 3 - 1, 3)
        writer.add_image("uint8 HWC", BYTES.transpose(1, 2, 0), 3, dataformats="HWC")
        writer.add_image("grey HW", FLOATS[0], dataformats="HW")
        writer.add_image("one channel", torch.from_numpy(FLOATS[:1]))
        writer.add_image("letters in another order", BYTES.transpose(2, 0, 1), dataformats="WCH")
        writer.add_image("a tensor of it", torch.tensor(BYTES).permute(2, 0, 1), dataformats="wch")
        writer.add_images("a grid", np.stack([FLOATS, 1 - FLOATS, FLOATS]), 3)
        writer.add_images("a grid NHWC", np.stack([BYTES] * 5).transpose(0, 2, 3, 1), 3, 1.5, "NHWC")
        writer.add_image("a grid by add_image", np.stack([FLOATS] * 2), dataformats="NCHW")

    check_alike(*map(pictures, written(add, tmp_path)))


def test_boxes_are_drawn_where_torch_draws_them(tmp_path):
    def add(writer: Any) -> None:
        writer.add_image_with_boxes("plain", BYTES, np.array([[2, 2, 9, 9]]), 1)
        writer.add_image_with_boxes("larger", BYTES, torch.tensor([[2.0, 2, 9, 9]]), 1, None, 2)
        writer.add_image_with_boxes(
            "labels of another number", BYTES, torch.tensor([[2.0, 2, 9, 9]]), labels=["a", "b"]
        )

    check_alike(*map(pictures, written(add, tmp_path)))


def test_figures_have_torchs_pixels_and_are_closed_unless_asked(tmp_path):
    left_open = []

    def add(writer: Any) -> None:
        figures = [plt.figure(figsize=(2, 1)) for _ in range(4)]
        for number, figure in enumerate(figures):
            figure.gca().plot([number, 1])
        writer.add_figure("one", figures[0], 2)
        writer.add_figure("several", figures[1:3])
        writer.add_figure("open", figures[3], close=False)
        left_open.append(plt.get_fignums() == [figures[3].number])
        plt.close(figures[3])

    check_alike(*map(pictures, written(add, tmp_path)))
    assert left_open == [True, True]


def test_sound_has_torchs_samples(tmp_path):
    sound = np.sin(np.linspace(0, 300, 2000)).astype(np.float32)

    def add(writer: Any) -> None:
        writer.add_audio("a", sound, 4, sample_rate=8000)
        writer.add_audio("row", torch.from_numpy(sound[None]) / 2, 4)

    def samples(directory: Path) -> dict[str, tuple[int, int, list[int]]]:
        found = {}
        for tag, ((step, _, array),) in values(directory, "audio").items():
            with wave.open(io.BytesIO(array.reshape(-1)[0])) as file:
                data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
                found[tag] = step, file.getframerate(), data.tolist()
        return found

    theirs, ours = map(samples, written(add, tmp_path))
    assert ours == theirs
    assert len(ours["row"][2]) == 2000


def test_histograms_have_torchs_bins(tmp_path):
    numbers = RANDOM.normal(size=(10, 100))

    def add(writer: Any) -> None:
        writer.add_histogram("default", torch.from_numpy(numbers), 6)
        writer.add_histogram("rule", numbers, 6, "auto")
        writer.add_histogram("number", numbers, 6, 12)
        writer.add_histogram("edges", numbers, 6, [-10.0, -1.0, 0.0, 1.0, 20.0])
        writer.add_histogram("fewer", numbers, 6, max_bins=10)
        writer.add_histogram("whole", torch.arange(7), walltime=1_000.5)
        writer.add_histogram_raw("raw", 0.0, 10.0, 3, 12.0, 50.0, [1.0, 5.0, 10.0], [1, 0, 2], 6)

    theirs, ours = (values(directory, "histograms") for directory in written(add, tmp_path))
    assert set(ours) == set(theirs)
    for tag, ((step, _, bins),) in theirs.items():
        ((own_step, _, own),) = ours[tag]
        assert own_step == step
        np.testing.assert_allclose(own, bins, rtol=1e-6)
    assert ours["whole"][0][1] == theirs["whole"][0][1] == 1_000.5


def test_text_curves_layouts_and_meshes_are_torchs(tmp_path):
    labels, predictions = RANDOM.integers(0, 2, 100), RANDOM.random(100)
    corners = RANDOM.random((1, 4, 3)).astype(np.float32)
    colors = RANDOM.integers(0, 256, (1, 4, 3))

    def add(writer: Any) -> None:
        writer.add_text("note", "# Größe\n\n*x*", 2)
        writer.add_pr_curve("pr", torch.from_numpy(labels), predictions, 3)
        writer.add_pr_curve("weighed", labels, predictions, 3, 20, predictions)
        raw = [np.array(row, float) for row in ([3, 2], [2, 1], [0, 1], [0, 1], [0.6, 0.5], [1, 0.75])]
        writer.add_pr_curve_raw("raw", *raw, 3, 2)
        writer.add_custom_scalars({"cat": {"lines": ["Multiline", ["a", "b"]], "band": ["Margin", ["a", "b", "c"]]}})
        writer.add_mesh("mesh", corners, colors, np.array([[[0, 1, 2], [1, 2, 3]]]), {"camera": {"cls": "x"}}, 4)
        writer.add_mesh("cloud", torch.from_numpy(corners))

    theirs, ours = written(add, tmp_path)
    for plugin in ("text", "pr_curves", "custom_scalars", "mesh"):
        expected = values(theirs, plugin)
        found = values(ours, plugin)
        assert expected
        assert set(found) == set(expected)
        for tag, ((step, _, content),) in expected.items():
            assert found[tag][0][0] == step
            if plugin == "custom_scalars":
                assert Layout.FromString(found[tag][0][2].item()) == Layout.FromString(content.item())
            elif plugin == "text":
                assert found[tag][0][2].tolist() == content.tolist()
            else:
                np.testing.assert_allclose(found[tag][0][2], content, rtol=1e-6)
    config = [accumulated(each).PluginTagToContent("mesh")["mesh_VERTEX"] for each in (ours, theirs)]
    own, expected_config = (MeshPluginData.FromString(each) for each in config)
    assert json.loads(own.json_config) == json.loads(expected_config.json_config) == {"camera": {"cls": "x"}}
    assert own.components == expected_config.components


def test_one_chart_can_be_laid_out_by_its_tags(tmp_path):
    def lines(writer: Any) -> None:
        writer.add_custom_scalars_multilinechart(["a", "b"], "cat", "lines")

    def band(writer: Any) -> None:
        writer.add_custom_scalars_marginchart(["a", "b", "c"], title="band")

    for number, add in enumerate((lines, band)):
        found = [
            Layout.FromString(content.item())
            for directory in written(add, tmp_path / str(number))
            for ((_, _, content),) in values(directory, "custom_scalars").values()
        ]
        assert found[0] == found[1]


@pytest.mark.filterwarnings("ignore:.torch.jit.trace:DeprecationWarning")  # what torch's own capture stands on
def test_the_graph_has_torchs_nodes(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 1))
    graphs = [accumulated(each).Graph() for each in written(lambda w: w.add_graph(model, torch.ones(2, 4)), tmp_path)]
    nodes = [[(node.name, node.op, list(node.input)) for node in graph.node] for graph in graphs]
    assert nodes[0] == nodes[1] != []


def test_the_projector_finds_its_points_labels_and_pictures(tmp_path):
    points = RANDOM.random((4, 3)).astype(np.float32)

    def add(writer: Any) -> None:
        writer.add_embedding(points, list("abcd"), torch.from_numpy(RANDOM.random((4, 3, 8, 8))), 7)
        rows = [[letter, str(number)] for number, letter in enumerate("abcd")]
        writer.add_embedding(torch.from_numpy(points), rows, tag="two/columns", metadata_header=["letter", "number"])

    from google.protobuf import text_format

    theirs, ours = written(add, tmp_path)
    configs = [
        text_format.Parse((each / "projector_config.pbtxt").read_text(), ProjectorConfig()) for each in (theirs, ours)
    ]
    assert [len(config.embeddings) for config in configs] == [2, 2]
    for expected, found in zip(*(sorted(c.embeddings, key=lambda e: e.tensor_name) for c in configs), strict=True):
        assert found.tensor_name == expected.tensor_name
        own = np.loadtxt(ours / found.tensor_path, delimiter="\t")
        np.testing.assert_allclose(own, np.loadtxt(theirs / expected.tensor_path, delimiter="\t"), rtol=1e-5)
        assert (ours / found.metadata_path).read_text() == (theirs / expected.metadata_path).read_text()
        assert list(found.sprite.single_image_dim) == list(expected.sprite.single_image_dim)


def test_a_tensor_is_kept_with_its_dtype(tmp_path):
    with asynclog.SummaryWriter(tmp_path / "run", backends=["tensorboard", "jsonl"]) as writer:
        writer.add_tensor("deep/er", torch.arange(6, dtype=torch.int16).reshape(2, 3), 5)
        ledger = writer.run.finish()
    assert (ledger.issued, ledger.pending, ledger.dropped) == (1, 0, {})
    stored = b"".join(path.read_bytes() for path in (tmp_path / "run" / "media").iterdir())
    array = np.load(io.BytesIO(stored[stored.index(b"\x93NUMPY") :]))
    assert (array.dtype, array.tolist()) == (np.int16, [[0, 1, 2], [3, 4, 5]])


def closed() -> Any:
    figure = plt.figure()
    plt.close(figure)
    return figure


def broken(writer: Any) -> Iterator[tuple[str, Callable[[], None]]]:
    """What a warning says, and the call that it comes from."""
    yield "shape", lambda: writer.add_image("five dimensions", np.ones((2, 2, 2, 2, 2)))
    yield "dataformats", lambda: writer.add_image("letters of nothing", FLOATS, dataformats="ABC")
    yield "of type object", lambda: writer.add_image("no array", object())
    yield "figure", lambda: writer.add_figure("no figure", [object()])
    yield "one or more", lambda: writer.add_figure("no figures", [])
    yield "closed", lambda: writer.add_figure("a closed figure", closed())
    yield "ascend", lambda: writer.add_histogram("edges that fall", FLOATS, bins=[2.0, 1.0])
    yield "equally many", lambda: writer.add_pr_curve_raw("unequal rows", [1], [1], [1], [1], [1], [1, 2])
    yield "dtype object", lambda: writer.add_tensor("objects", np.array([None]))
    yield "a str is accepted", lambda: writer.add_text("no text", 3)
    yield "torch.nn.Module", lambda: writer.add_graph(object())


def test_what_can_not_be_shown_warns_is_counted_and_harms_nothing_else(tmp_path):
    with asynclog.SummaryWriter(tmp_path / "run") as writer:
        for count, (text, call) in enumerate(broken(writer), 1):
            with pytest.warns(AsynclogWarning, match=text):
                call()
            assert writer.run.stats.dropped["bad_value"] == count
        writer.add_image("good", FLOATS)
    assert set(pictures(tmp_path / "run")) == {"good"}


def test_a_graph_of_no_onnx_file_warns(tmp_path):
    with (
        asynclog.SummaryWriter(tmp_path / "run") as writer,
        pytest.warns(AsynclogWarning, match="'graph' is no OnnxGraph"),
    ):
        writer.add_onnx_graph("/nowhere.onnx")
