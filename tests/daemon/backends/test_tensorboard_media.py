"""Each kind as torch's SummaryWriter writes it and as we do, both read by TensorBoard's own loaders.

Videos have their peer in tests/client/test_summary_writer_video.py.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.backend.event_processing.event_file_loader import RawEventFileLoader
from tensorboard.compat.proto import event_pb2

from asynclogd.backends.base import Media, PermanentError, Rewind
from asynclogd.backends.tensorboard import TensorBoardBackend, TensorBoardConfig
from asynclogd.media import forms
from asynclogd.testing import table
from tests.daemon.backends.mediastore import Store, without_store, written
from tests.daemon.sinkplace import Place

torch_too = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

RNG = np.random.default_rng(0)
PICTURE = RNG.random((3, 20, 30), np.float32)
BATCH = RNG.integers(0, 255, (9, 1, 6, 5), np.uint8)
BOXES = np.array([[1, 2, 15, 14], [5, 5, 25, 18]], np.float32)
SOUND = (RNG.random((1, 500)) * 2.4 - 1.2).astype(np.float32)
VALUES = RNG.normal(size=(30, 40)).astype(np.float32)
LABELS, PREDICTIONS = RNG.integers(0, 2, 200), RNG.random(200)
CURVE = RNG.random((6, 10)).astype(np.float32)
POINTS = RNG.random((1, 8, 3), np.float32)
COLORS = RNG.integers(0, 255, (1, 8, 3), np.uint8)
FACES = RNG.integers(0, 8, (1, 4, 3), np.int32)
CONFIG = {"material": {"cls": "PointsMaterial", "size": 0.1}, "a": 1}
LAYOUT = {"losses": {"both": ["Multiline", ["a/.*", "b"]], "band": ["Margin", ["v", "l", "u"]]}, "ü": {}}
STATS, EDGES, COUNTS = [0.0, 3.0, 4.0, 6.0, 14.0], [0.0, 1.0, 2.5, 3.5], [0.0, 1.0, 2.0, 1.0]

Add = Callable[[Any], None]
Case = tuple[Add, str, dict[str, Any], dict[str, Any]]
"""How SummaryWriter is called; kind, options and parts of the record."""

CASES: dict[str, Case] = {
    "image": (lambda to: to.add_image("x", PICTURE, 3), "image", {"dataformats": "CHW"}, {"image": PICTURE}),
    "images": (lambda to: to.add_images("x", BATCH, 3), "image", {"dataformats": "NCHW"}, {"image": BATCH}),
    "boxes": (
        lambda to: to.add_image_with_boxes("x", PICTURE, BOXES, 3, rescale=2, labels=["cat", "dog"]),
        "image",
        {"rescale": 2},
        {"image": PICTURE, "boxes": BOXES, "labels": "cat\ndog"},
    ),
    "audio": (lambda to: to.add_audio("x", SOUND, 3, 8000), "audio", {"sample_rate": 8000}, {"audio": SOUND}),
    "text": (lambda to: to.add_text("x", "**ü** | 1", 3), "text", {}, {"text": "**ü** | 1"}),
    "histogram": (lambda to: to.add_histogram("x", VALUES, 3), "histogram", {}, {"values": VALUES}),
    "histogram, auto": (
        lambda to: to.add_histogram("x", VALUES, 3, bins="auto", max_bins=5),
        "histogram",
        {"bins": "auto", "max_bins": 5},
        {"values": VALUES},
    ),
    "histogram, counted before": (
        lambda to: to.add_histogram_raw("x", *STATS, EDGES, COUNTS, 3),
        "histogram",
        {},
        {"stats": np.array(STATS), "edges": np.array(EDGES), "counts": np.array(COUNTS)},
    ),
    "pr curve": (
        lambda to: to.add_pr_curve("x", LABELS, PREDICTIONS, 3, num_thresholds=50),
        "pr_curve",
        {"num_thresholds": 50},
        {"labels": LABELS, "predictions": PREDICTIONS},
    ),
    "pr curve, made before": (
        lambda to: to.add_pr_curve_raw("x", *CURVE, 3, num_thresholds=10),
        "pr_curve",
        {"num_thresholds": 10},
        {"curve": CURVE},
    ),
    "point cloud": (lambda to: to.add_mesh("x", POINTS, global_step=3), "mesh", {}, {"vertices": POINTS}),
    "mesh": (
        lambda to: to.add_mesh("x", POINTS, COLORS, FACES, CONFIG, 3),
        "mesh",
        {"config": json.dumps(CONFIG)},
        {"vertices": POINTS, "colors": COLORS, "faces": FACES},
    ),
}


def values(directory: Path) -> list[tuple[int, Any]]:
    """(step, Summary.Value) as they are in the directory's event files."""
    found = []
    for path in sorted(directory.glob("events.out.tfevents.*")):
        for record in RawEventFileLoader(str(path)).Load():
            event = event_pb2.Event.FromString(record)
            found += [(event.step, value) for value in event.summary.value]
    return found


def pixels(value: Any) -> tuple[int, int, int, bytes]:
    """Size, colour space and the decoded picture: compressed, it depends on the level."""
    image = value.image
    return image.height, image.width, image.colorspace, Image.open(io.BytesIO(image.encoded_image_string)).tobytes()


def assert_alike(ours: list[tuple[int, Any]], theirs: list[tuple[int, Any]]) -> None:
    assert [(step, value.tag) for step, value in ours] == [(step, value.tag) for step, value in theirs]
    for (_, one), (_, other) in zip(ours, theirs, strict=True):
        if other.HasField("image"):
            assert pixels(one) == pixels(other)
            one.ClearField("image")
            other.ClearField("image")
        assert one == other


def peer(directory: Path, add: Add) -> Path:
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(directory / "peer")) as writer:
        add(writer)
    return directory / "peer"


def accumulated(directory: Path) -> EventAccumulator:
    return EventAccumulator(str(directory), dict.fromkeys(("tensors", "images", "audio", "histograms"), 0)).Reload()


@pytest.fixture
def store() -> Store:
    return Store()


class TestBesideSummaryWriter:
    pytestmark = torch_too

    @pytest.mark.parametrize("case", CASES)
    def test_the_values_are_those_that_it_writes(self, tmp_path: Path, store: Store, case: str) -> None:
        add, kind, options, parts = CASES[case]
        run = store.run(tmp_path)
        written(run, store.item("x", kind, options, 3, **parts))
        theirs = peer(tmp_path, add)
        assert_alike(values(run.own_dir), values(theirs))
        ours_read, theirs_read = accumulated(run.own_dir), accumulated(theirs)
        assert ours_read.Tags() == theirs_read.Tags()
        assert ours_read.summary_metadata == theirs_read.summary_metadata

    def test_a_layout(self, tmp_path: Path, store: Store) -> None:
        run = store.run(tmp_path)
        written(run, store.item("any name", "layout", layout=json.dumps(LAYOUT)))
        assert_alike(values(run.own_dir), values(peer(tmp_path, lambda to: to.add_custom_scalars(LAYOUT))))

    # torch.jit.trace, by which SummaryWriter makes a graph, warns of itself on newer Pythons.
    def test_the_graph_of_a_model(self, tmp_path: Path, store: Store) -> None:
        import torch
        from torch.utils.tensorboard._pytorch_graph import graph

        model = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU(), torch.nn.Linear(3, 2))
        data = torch.ones(1, 4)
        made, stats = graph(model, data)
        run, parts = store.run(tmp_path), {"graph": made.SerializeToString(), "run_metadata": stats.SerializeToString()}
        written(run, store.item("model", "graph", **parts))
        ours, theirs = accumulated(run.own_dir), accumulated(peer(tmp_path, lambda to: to.add_graph(model, data)))
        assert len(ours.Graph().node) > 5
        assert ours.Graph() == theirs.Graph()
        assert ours.Tags()["run_metadata"] == theirs.Tags()["run_metadata"] == ["step1"]
        assert ours.RunMetadata("step1") == theirs.RunMetadata("step1")


def test_a_graph_alone_has_no_run_metadata(tmp_path: Path, store: Store) -> None:
    from tensorboard.compat.proto import graph_pb2

    graph = graph_pb2.GraphDef()
    graph.node.add(name="only", op="Identity")
    run = store.run(tmp_path)
    written(run, store.item("model", "graph", graph=graph.SerializeToString()))
    found = accumulated(run.own_dir)
    assert [node.name for node in found.Graph().node] == ["only"]
    assert found.Tags()["run_metadata"] == []


def test_a_video_is_an_image_that_moves(tmp_path: Path, store: Store) -> None:
    video = np.zeros((2, 3, 3, 8, 6), np.uint8)
    video[:, 1] = 255
    run = store.run(tmp_path)
    written(run, store.item("clip", "video", {"fps": 10}, 4, video=video))
    ((step, value),) = values(run.own_dir)
    assert (step, value.tag) == (4, "clip")
    assert (value.image.height, value.image.width, value.image.colorspace) == (8, 12, 3)
    gif = Image.open(io.BytesIO(value.image.encoded_image_string))
    assert (gif.format, getattr(gif, "n_frames", 0)) == ("GIF", 3)


def test_a_caption_is_the_description(tmp_path: Path, store: Store) -> None:
    run = store.run(tmp_path)
    written(run, store.item("x", "image", {"caption": "a *fine* one"}, image=PICTURE))
    assert accumulated(run.own_dir).SummaryMetadata("x").summary_description == "a *fine* one"


def texts(directory: Path) -> dict[str, str]:
    found = accumulated(directory)
    return {tag: found.Tensors(tag)[-1].tensor_proto.string_val[0].decode() for tag in found.Tags()["tensors"]}


def test_html_tables_and_files_are_texts(tmp_path: Path, store: Store) -> None:
    run = store.run(tmp_path)
    rows = [[1, "a|b"], [None, "two\nlines"], [2.5, "c\\"]]
    written(
        run,
        store.item("page", "html", html="<b>bold</b>"),
        store.item("scores", "table", table=json.dumps({"columns": ["n", "what"], "rows": rows})),
        store.item("long", "table", table=json.dumps({"columns": ["n"], "rows": [[n] for n in range(1234)]})),
        store.item("kept", "file", {"artifact": "weights", "type": "checkpoint", "path": "/a/w.pt", "size": 2_500_000}),
        store.item("inside", "file", {"path": "/a/b`c.bin"}, file=bytes(10)),
    )
    found = texts(run.own_dir)
    assert found["page/text_summary"] == "<b>bold</b>"
    assert (
        found["scores/text_summary"] == "| n | what |\n| --- | --- |\n| 1 | a\\|b |\n|  | two lines |\n| 2.5 | c\\\\ |"
    )
    assert found["long/text_summary"].endswith("| 999 |\n\n234 more rows")
    assert found["kept/text_summary"] == "**`weights`** (checkpoint, 2.5 MB): `/a/w.pt`"
    assert found["inside/text_summary"] == "**`b'c.bin`** (file, 10 B): `/a/b'c.bin`"


def test_media_and_metrics_keep_their_order_and_times(tmp_path: Path, store: Store) -> None:
    run = store.run(tmp_path)
    position = None
    for step in range(3):
        item = store.item("x", "image", step=step, image=PICTURE)
        position = written(run, table(["loss"], [step]), item, position=position)
    found = accumulated(run.own_dir)
    assert [event.step for event in found.Images("x")] == [0, 1, 2]
    assert [event.wall_time for event in found.Images("x")] == [1_700_000_000.0 + step for step in range(3)]
    assert [step for step, _ in values(run.own_dir)] == [0, 0, 1, 1, 2, 2]


def test_what_is_offered_again_after_a_kill_is_there_once(tmp_path: Path, store: Store) -> None:
    run = store.run(tmp_path)
    items = [store.item(f"x{number}", "histogram", step=number, values=VALUES + number) for number in range(6)]
    backend = TensorBoardBackend(TensorBoardConfig())
    backend.open(run, None)
    backend.write(items[:2])
    position = backend.flush()
    backend.write(items[2:5])
    backend.flush()  # and killed before the journal knew of it
    again = TensorBoardBackend(TensorBoardConfig())
    again.open(run, position)
    again.write(items[2:])
    again.flush()
    again.close("success")
    backend.close("")
    assert [value.tag for _, value in values(run.own_dir)] == [f"x{number}" for number in range(6)]


def test_a_rewind_supersedes_images(tmp_path: Path, store: Store) -> None:
    run = store.run(tmp_path)
    items = [store.item("x", "image", step=step, image=PICTURE) for step in range(4)]
    written(run, *items, Rewind(2, 1), store.item("x", "image", step=2, image=PICTURE))
    assert [event.step for event in accumulated(run.own_dir).Images("x")] == [0, 1, 2]


@pytest.mark.parametrize("name", ["ünï/code name", "a" * 500, "lone \udcff surrogate"], ids=["unicode", "long", "lone"])
def test_awkward_names(tmp_path: Path, store: Store, name: str) -> None:
    run = store.run(tmp_path)
    parts: list[tuple[str, dict[str, Any]]] = [
        ("image", {"image": PICTURE}),
        ("text", {"text": "t"}),
        ("mesh", {"vertices": POINTS}),
    ]
    written(run, *(store.item(name, kind, **part) for kind, part in parts))
    tag = name.replace("\udcff", "?")
    assert {value.tag for _, value in values(run.own_dir)} == {tag, f"{tag}/text_summary", f"{tag}_VERTEX"}


class TestRefused:
    def test_a_blob_that_cannot_be_read_is_a_dead_letter_and_the_rest_arrives(
        self, tmp_path: Path, store: Store
    ) -> None:
        lost = store.lose(store.item("gone", "image", step=1, image=PICTURE * 0.5))
        place = Place(tmp_path / "run-1", [store.item("x", "image", image=PICTURE), lost, table(["loss"], range(3))])
        place.run = store.run(tmp_path)
        sink = place.sink(TensorBoardBackend(TensorBoardConfig()))
        assert sink.stop(drain=True, timeout=30)
        assert [(letter.offset, letter.reason) for letter in place.letters] == [
            (2, "gone: its image/png can't be read: no segment 1")
        ]
        assert [value.tag for _, value in values(place.run.own_dir)] == ["x", "loss", "loss", "loss"]

    def test_a_run_without_a_store(self, tmp_path: Path, store: Store) -> None:
        with pytest.raises(PermanentError, match="x: this run has no media store"):
            written(without_store(store.run(tmp_path)), store.item("x", "image", image=PICTURE))

    def test_a_form_that_is_unknown(self, tmp_path: Path, store: Store) -> None:
        item = Media("x", 0, 1.0, "smell", "model/scent", {}, store.put(b"roses"))
        with pytest.raises(PermanentError, match="TensorBoard has no place for smell as model/scent"):
            written(store.run(tmp_path), item)

    @pytest.mark.parametrize(
        ("form", "options"),
        [
            (forms.PNG, {}),
            (forms.PNG, {"width": 1 << 40, "height": 5, "channels": 3}),
            (forms.WAV, {"sample_rate": "fast", "channels": 1, "frames": 2}),
            (forms.HISTOGRAM, {"n": 7}),
            (forms.PR_CURVE, {"n": 7}),
            (forms.MESH, {"sections": ["vertices:float32:9,9,9"]}),
            (forms.MESH, {"sections": ["vertices"]}),
            (forms.JSON, {}),
            (forms.EMBEDDING, {}),
        ],
    )  # fmt: skip
    def test_content_that_is_not_of_its_form(self, tmp_path: Path, store: Store, form: str, options: Any) -> None:
        item = Media("x", 0, 1.0, "any", form, options, store.put(b"spoiled!"))
        with pytest.raises(PermanentError, match="x: a blob that is"):
            written(store.run(tmp_path), item)
