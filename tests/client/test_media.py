"""Media through `log()`: what is recorded, in which order, and what becomes of what can't be."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import asynclog
from asynclog import AsynclogWarning
from asynclog._media.form import Drawn, Form
from asynclog_proto.media import INLINE_BYTES, Media, Place
from asynclog_proto.records import Row
from tests.client.scripted import ScriptedDaemon

Begin = Callable[..., asynclog.Run]
Eventually = Callable[..., None]
BIG = np.random.default_rng(0).random((3, 40, 50), dtype=np.float32)
"""A body that does not fit its record."""


def only(daemon: ScriptedDaemon) -> Media:
    (record,) = daemon.media()
    return record


def logged(daemon: ScriptedDaemon, begin: Begin, item: object) -> Media:
    """The record of an item, logged by itself without a warning; the run is flushed and goes on."""
    run = begin()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.log({"x": item}, 3)
        assert run.flush()
    return only(daemon)


def sections(record: Media) -> list[tuple[str, str, tuple[int, ...]]]:
    return [(section.role, section.dtype, section.shape) for section in record.sections]


def arrays(daemon: ScriptedDaemon, record: Media) -> dict[str, Any]:
    """Each section's content, arrays as NumPy has them."""
    body, at, found = daemon.body(record), 0, {}
    for section in record.sections:
        data = body[at : at + section.size]
        at += section.size
        is_text = section.dtype in {"text", "bytes"}
        found[section.role] = data if is_text else np.frombuffer(data, section.dtype).reshape(section.shape)
    return found


# ---- beside numbers ---------------------------------------------------------------------------------------------


def test_an_image_beside_a_number_costs_the_number_nothing(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.log({"loss": 0.5, "samples": asynclog.Image(BIG), "deep": {"hist": asynclog.Histogram([1.0])}}, 7)
    assert run.flush()
    image, histogram = daemon.media()
    assert daemon.points() == [(7, "loss", 0.5)]
    assert (image.name, image.step, image.kind) == ("samples", 7, "image")
    assert (histogram.name, histogram.step) == ("deep/hist", 7)
    assert np.array_equal(arrays(daemon, image)["image"], BIG)
    assert run.stats.issued == 3
    assert run.finish().journaled == 3


def test_steps_go_on_over_media_as_over_rows(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.log({"a": 1.0})
    run.log_text("t", "x")
    run.log({"a": 2.0})
    run.finish()
    assert [record.step for record in daemon.records() if isinstance(record, (Row, Media))] == [0, 1, 2]


def test_media_of_an_earlier_step_are_no_step_back(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.log({"a": 1.0}, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run.log_text("epoch", "x", 3)
        run.log({"a": 2.0})
    assert run.stats.backward_steps == 0
    run.finish()
    assert daemon.points() == [(100, "a", 1.0), (101, "a", 2.0)]


def test_the_array_may_change_after_the_call(daemon: ScriptedDaemon, begin: Begin) -> None:
    image = BIG.copy()
    run = begin()
    run.log({"x": asynclog.Image(image)})
    image[:] = 0
    run.flush()
    assert np.array_equal(arrays(daemon, only(daemon))["image"], BIG)


class Slow(Drawn):
    """Drawn for as long as the test wants."""

    KIND = "text"

    def __init__(self) -> None:
        self.begun, self.goes_on = threading.Event(), threading.Event()

    def drawn(self) -> Form:
        self.begun.set()
        assert self.goes_on.wait(30)
        return asynclog.Text("drawn").form()


def test_other_threads_log_while_a_figure_or_a_graph_is_drawn(daemon: ScriptedDaemon, begin: Begin) -> None:
    run, slow = begin(), Slow()
    drawing = threading.Thread(target=run.log, args=({"x": slow, "a": 1.0}, 1))
    drawing.start()
    assert slow.begun.wait(30)
    run.log({"b": 2.0}, 0)
    slow.goes_on.set()
    drawing.join(30)
    run.finish()
    assert daemon.points() == [(0, "b", 2.0), (1, "a", 1.0)]
    assert daemon.body(only(daemon)) == b"drawn"


def test_small_bodies_travel_in_their_record(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.log_text("fits", "a" * INLINE_BYTES)
    run.log_text("beyond", "b" * (INLINE_BYTES + 1))
    run.flush()
    fits, beyond = daemon.media()
    assert fits.body == b"a" * INLINE_BYTES
    assert beyond.body == Place(0, 0, INLINE_BYTES + 1)
    assert daemon.body(beyond) == b"b" * (INLINE_BYTES + 1)


def test_nothing_heavy_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, asynclog; run = asynclog.init('p', 'r', mode='disabled'); run.log_text('t', 'x')\n"
        "heavy = {'numpy', 'torch', 'PIL', 'matplotlib', 'tensorboard'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


# ---- what is taken ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "dataformats", "told"),
    [
        (BIG, None, "CHW"), (BIG[0], None, "HW"), (np.moveaxis(BIG, 0, -1), None, "HWC"), (BIG, "CHW", "CHW"),
        (BIG[:, :3], "chw", "CHW"), (np.zeros((4, 5, 3), "u1"), "HWC", "HWC"), (BIG.astype(">f8"), None, "CHW"),
        (BIG[:, ::-1, ::2], None, "CHW"), (np.zeros((3, 3, 3), "u1"), None, "CHW"),
    ],
)  # fmt: skip
def test_images(image: Any, dataformats: str | None, told: str, daemon: ScriptedDaemon, begin: Begin) -> None:
    record = logged(daemon, begin, asynclog.Image(image, dataformats=dataformats))
    assert record.options == {"dataformats": told}
    assert sections(record) == [("image", image.dtype.name, image.shape)]
    assert np.array_equal(arrays(daemon, record)["image"], image)


def test_an_image_with_boxes_labels_and_a_caption(daemon: ScriptedDaemon, begin: Begin) -> None:
    item = asynclog.Image(BIG, boxes=[[1, 2, 30, 40]], labels=["a\ncat"], caption="ü", rescale=0.5)
    record = logged(daemon, begin, item)
    assert record.options == {"dataformats": "CHW", "caption": "ü", "rescale": 0.5}
    found = arrays(daemon, record)
    assert found["boxes"].dtype == np.float32
    assert found["boxes"].tolist() == [[1, 2, 30, 40]]
    assert found["labels"] == b"a cat"


@pytest.mark.parametrize(("given", "dtype"), [("uint16", "int32"), ("uint32", "int64"), ("uint64", "float64")])
def test_dtypes_that_do_not_travel_are_widened(given: str, dtype: str, daemon: ScriptedDaemon, begin: Begin) -> None:
    values = np.arange(5, dtype=given)
    record = logged(daemon, begin, asynclog.Histogram(values))
    assert sections(record) == [("values", dtype, (5,))]
    assert arrays(daemon, record)["values"].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("item", "kind", "told", "options"),
    [
        (asynclog.Images(BIG[None]), "image", [("image", "float32", (1, 3, 40, 50))], {"dataformats": "NCHW"}),
        (
            asynclog.Images(np.zeros((2, 4, 5, 3), "u1"), dataformats="NHWC", caption="c"),
            "image", [("image", "uint8", (2, 4, 5, 3))], {"dataformats": "NHWC", "caption": "c"},
        ),
        (asynclog.Video(np.zeros((1, 2, 3, 4, 5))), "video", [("video", "float64", (1, 2, 3, 4, 5))], {"fps": 4.0}),
        (asynclog.Video(np.zeros((2, 3, 4, 5)), fps=8), "video", [("video", "float64", (1, 2, 3, 4, 5))], {"fps": 8.0}),
        (asynclog.Audio([0.0, 0.5]), "audio", [("audio", "float64", (2,))], {"sample_rate": 44100}),
        (asynclog.Audio(np.zeros((2, 9), "i2"), sample_rate=8000), "audio", [("audio", "int16", (2, 9))],
         {"sample_rate": 8000}),
        (asynclog.Text("naïve"), "text", [("text", "text", (6,))], {}),
        (asynclog.Text(""), "text", [("text", "text", (0,))], {}),
        (asynclog.Html("<p>"), "html", [("html", "text", (3,))], {}),
        (asynclog.Histogram([1, 2, 3], bins=8, max_bins=4), "histogram", [("values", "int64", (3,))],
         {"bins": 8, "max_bins": 4}),
        (asynclog.Histogram([True]), "histogram", [("values", "bool", (1,))], {"bins": "tensorflow"}),
        (asynclog.PRCurve([0, 1], [0.1, 0.9]), "pr_curve",
         [("labels", "int64", (2,)), ("predictions", "float64", (2,))], {"num_thresholds": 127}),
        (asynclog.PRCurve([0, 1], [0.1, 0.9], weights=[1, 2], num_thresholds=3), "pr_curve",
         [("labels", "int64", (2,)), ("predictions", "float64", (2,)), ("weights", "int64", (2,))],
         {"num_thresholds": 3}),
        (asynclog.PRCurve.of_counts(np.zeros((6, 4))), "pr_curve", [("curve", "float32", (6, 4))],
         {"num_thresholds": 4}),
        (asynclog.Embedding(np.zeros((2, 3), "f2")), "embedding", [("matrix", "float16", (2, 3))], {}),
        (asynclog.Mesh(np.zeros((1, 2, 3)), colors=np.zeros((1, 2, 3), "u1"), faces=[[[0, 1, 1]]], config={"a": 1}),
         "mesh", [("vertices", "float32", (1, 2, 3)), ("colors", "uint8", (1, 2, 3)), ("faces", "int32", (1, 1, 3))],
         {"config": '{"a": 1}'}),
    ],
)  # fmt: skip
def test_kinds(item: Any, kind: str, told: Any, options: dict[str, Any], daemon: ScriptedDaemon, begin: Begin) -> None:
    record = logged(daemon, begin, item)
    assert (record.kind, sections(record), record.options) == (kind, told, options)
    assert len(daemon.body(record)) == sum(section.size for section in record.sections)


def test_a_histogram_that_was_counted_elsewhere(daemon: ScriptedDaemon, begin: Begin) -> None:
    counts, edges = np.histogram([0.1, 0.2, 0.2, 0.9], bins=2, range=(0, 1))
    run = begin()
    run.log({"estimated": asynclog.Histogram.of_bins(edges, counts)})
    run.log({"told": asynclog.Histogram.of_bins(edges[1:], counts, stats=[0.1, 0.9, 4, 1.4, 0.9])})
    run.flush()
    estimated, told = (arrays(daemon, record) for record in daemon.media())
    assert told["stats"].tolist() == [0.1, 0.9, 4, 1.4, 0.9]
    assert estimated["edges"].tolist() == told["edges"].tolist() == [0.5, 1.0]
    assert estimated["counts"].tolist() == told["counts"].tolist() == [3, 1]
    assert estimated["stats"].tolist() == [0, 1, 4, 3 * 0.25 + 0.75, 3 * 0.25**2 + 0.75**2]


def test_an_embedding_with_labels(daemon: ScriptedDaemon, begin: Begin) -> None:
    item = asynclog.Embedding(
        np.eye(2), metadata=[["a", 1], ["b", 2]], metadata_header=["name", "n"], label_images=np.zeros((2, 3, 4, 4))
    )
    record = logged(daemon, begin, item)
    assert record.options == {"metadata_header": ["name", "n"]}
    assert json.loads(arrays(daemon, record)["metadata"]) == [["a", "1"], ["b", "2"]]


@pytest.mark.parametrize(
    "item",
    [
        asynclog.Table([[1, "x"], [np.float32(0.5), None]], ["a", "b"]),
        asynclog.Table([{"a": 1, "b": "x"}, {"a": np.float32(0.5)}]),
    ],
)
def test_tables(item: asynclog.Table, daemon: ScriptedDaemon, begin: Begin) -> None:
    record = logged(daemon, begin, item)
    assert json.loads(daemon.body(record)) == {"columns": ["a", "b"], "rows": [[1, "x"], [0.5, None]]}


def test_a_layout_of_custom_scalars(daemon: ScriptedDaemon, begin: Begin) -> None:
    layout = {"losses": {"both": ["Multiline", ["train", "val"]]}}
    run = begin()
    run.log_layout(layout)
    run.flush()
    assert json.loads(daemon.body(only(daemon))) == layout


def test_files_by_path_and_by_content(daemon: ScriptedDaemon, begin: Begin, tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(b"weights" * 1000)
    run = begin()
    run.log_file("by path", file, type="checkpoint")
    run.log_file("copied", str(file), artifact="first.pt", copy=True)
    file.write_bytes(b"")
    run.flush()
    by_path, copied = daemon.media()
    assert by_path.options == {"path": str(file), "artifact": "model.pt", "type": "checkpoint", "size": 7000}
    assert by_path.body == b""
    assert daemon.body(copied) == b"weights" * 1000
    assert copied.options["artifact"] == "first.pt"


def test_a_method_for_each_kind(daemon: ScriptedDaemon, begin: Begin, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    run = begin()
    run.log_image("1", BIG, 5, caption="c")
    run.log_images("2", BIG[None], 5)
    run.log_video("3", BIG[None], 5, fps=2)
    run.log_audio("4", BIG[0, 0], 5)
    run.log_text("5", "t", 5)
    run.log_html("6", "<p>", 5)
    run.log_table("7", [[1]], ["a"], 5)
    run.log_histogram("8", BIG, 5)
    run.log_pr_curve("9", [0, 1], [0.5, 0.5], 5)
    run.log_embedding("10", np.eye(3), 5)
    run.log_mesh("11", np.zeros((1, 2, 3)), 5)
    run.log_file("12", tmp_path / "f", 5)
    assert run.flush()
    found = daemon.media()
    assert [record.name for record in found] == [str(number) for number in range(1, 13)]
    assert {record.step for record in found} == {5}
    assert [record.kind for record in found] == [
        "image", "image", "video", "audio", "text", "html", "table", "histogram", "pr_curve", "embedding", "mesh",
        "file",
    ]  # fmt: skip


# ---- what is not ------------------------------------------------------------------------------------------------


class Lazy:
    """As large an array as is wanted, without its memory."""

    def __new__(cls, *shape: int, dtype: str = "uint8") -> Any:
        return np.broadcast_to(np.zeros((), dtype), shape)


BAD: list[tuple[Any, str]] = [
    (asynclog.Image(np.zeros((2, 5, 5))), r"shape \(2, 5, 5\), dtype float64: accepted is \(C, H, W\) with 1, 3 or 4"),
    (asynclog.Image(np.zeros((1, 3, 5, 5))), r"shape \(1, 3, 5, 5\).* several images are asynclog.Images"),
    (asynclog.Image(np.zeros(5)), r"accepted are \(C, H, W\), \(H, W, C\) and \(H, W\)"),
    (asynclog.Image(BIG, dataformats="HWC"), r"accepted is \(H, W, C\)"),
    (asynclog.Image(BIG, dataformats="XYZ"), "accepted dataformats are CHW, HWC, HW, not 'XYZ'"),
    (asynclog.Image(BIG, dataformats=7), "accepted dataformats are"),  # type: ignore[arg-type]  # what is tested
    (asynclog.Image(np.zeros((0, 5))), r"shape \(0, 5\), dtype float64: it has no element"),
    (asynclog.Image(np.zeros((3, 5, 5), complex)), "dtype complex128: accepted are uint8"),
    (asynclog.Image(np.full((2, 2), "a")), "accepted are uint8"),
    (asynclog.Image(Lazy(10_000, 10_000)), r"shape \(10000, 10000\), dtype uint8: it has 100 million pixels"),
    (asynclog.Image(Lazy(2, 1 << 30)), "2048 MiB: at most 512 MiB"),
    (asynclog.Image("a.png"), "of type str: an array of NumPy, a tensor of torch or a list of numbers is accepted"),
    (asynclog.Image(object()), "of type object: an array"),
    (asynclog.Image(None), "of type NoneType: an array"),
    (asynclog.Image([[1, 2], [3]]), "of type list: an array"),
    (asynclog.Image(BIG, boxes=[1, 2, 3, 4]), r"boxes of shape \(4,\).* accepted is \(n, 4\)"),
    (asynclog.Image(BIG, boxes=[[1, 2, 3, 4]], labels=[]), "0 labels for 1 boxes"),
    (asynclog.Image(BIG, rescale=0), "rescale=0: a number above 0"),
    (asynclog.Image(BIG, caption="x" * 70_000), "at most 65536 are accepted"),
    (asynclog.Image(BIG, caption="\ud800"), "caption or another option that can't travel"),
    (asynclog.Images(BIG), r"accepted is \(N, C, H, W\)"),
    (asynclog.Video(BIG), r"accepted are \(N, T, C, H, W\) and \(T, C, H, W\)"),
    (asynclog.Video(np.zeros((1, 2, 2, 5, 5))), "with 1, 3 or 4 channels"),
    (asynclog.Video(np.zeros((1, 2, 3, 5, 5)), fps=-1), "fps=-1: a number above 0"),
    (asynclog.Audio(np.zeros((1, 2, 3))), r"accepted are \(L,\) and \(C, L\)"),
    (asynclog.Audio(np.zeros((44100, 2))), r"shape \(44100, 2\)"),
    (asynclog.Audio(np.zeros(0)), "it has no element"),
    (asynclog.Audio(np.zeros(5), sample_rate=0), "sample_rate=0: a whole number from 1"),
    (asynclog.Text(5), "of type int: a str is accepted"),  # type: ignore[arg-type]  # what is tested
    (asynclog.Histogram([]), "it has no element"),
    (asynclog.Histogram([1j]), "dtype complex128"),
    (asynclog.Histogram([1.0], bins="many"), "bins='many': accepted are tensorflow, auto"),
    (asynclog.Histogram([1.0], bins=0), "bins=0: a whole number"),
    (asynclog.Histogram.of_bins([0, 1, 2, 3], [1]), "4 edges for 1 counts"),
    (asynclog.Histogram.of_bins([0, 1], [-1]), "counts below 0"),
    (asynclog.Histogram.of_bins([1, 0], [1]), "edges that do not ascend"),
    (asynclog.PRCurve([0, 1], [0.5]), "2 labels, 1 predictions: equally many"),
    (asynclog.PRCurve.of_counts(np.zeros((5, 4))), r"accepted is \(6, n\)"),
    (asynclog.Embedding(np.zeros(5)), r"accepted is \(N, D\)"),
    (asynclog.Embedding(np.eye(2), metadata=["a"]), "1 labels for 2 rows"),
    (asynclog.Embedding(np.eye(2), label_images=np.zeros((3, 3, 4, 4))), r"accepted is \(2, C, H, W\)"),
    (asynclog.Mesh(np.zeros((2, 3))), r"accepted is \(B, n, 3\)"),
    (asynclog.Mesh(np.zeros((1, 2, 3)), colors=np.zeros((1, 3, 3))), "the shape of the vertices"),
    (asynclog.Mesh(np.zeros((1, 2, 3)), faces=np.zeros((2, 3, 3))), "a batch of 1"),
    (asynclog.Table([[1, 2]]), "without columns"),
    (asynclog.Table([[1, 2]], ["a"]), "2 cells for 1 columns"),
    (asynclog.Table(5), "of type int: a list of rows"),
    (asynclog.Layout({"a": {"b": ["Pie", ["x"]]}}), "chart 'Pie': accepted are Multiline and Margin"),
    (asynclog.Layout([]), "layout of another shape"),  # type: ignore[arg-type]  # what is tested
    (asynclog.File("/nowhere/at/all"), "the path '/nowhere/at/all', which does not exist"),
    (asynclog.File("/"), "which is no regular file"),
    (asynclog.File(5), "of type int: a path is accepted"),
    (asynclog.File("/nowhere", type="pickle"), "type='pickle'"),
    (asynclog.Figure(BIG), "a figure of matplotlib is accepted; .* is an asynclog.Image"),
    (asynclog.Graph(5, None), "of type int: a torch.nn.Module is accepted"),
]


def bad(item: Any, text: str) -> Any:
    """A case; those that would take gigabytes are of the fault matrix."""
    marks = [pytest.mark.fault("media-hostile")] if "MiB" in text or "million pixels" in text else []
    return pytest.param(item, text, id=f"{type(item).__name__}-{text[:30]}", marks=marks)


@pytest.mark.parametrize(("item", "text"), [bad(item, text) for item, text in BAD])
def test_what_can_not_be_logged_is_told_and_counted_and_nothing_else_is_lost(
    item: Any, text: str, daemon: ScriptedDaemon, begin: Begin
) -> None:
    run = begin()
    with pytest.warns(AsynclogWarning, match=f"(?s)'x'.*{text}"):
        run.log({"x": item, "y": 1.0, "z": asynclog.Text("t")})
    assert run.stats.issued == 3
    assert run.stats.dropped["bad_value"] == 1
    run.finish()
    assert daemon.points() == [(0, "y", 1.0)]
    assert only(daemon).name == "z"


def test_strict_raises_before_anything_is_written(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin(strict=True)
    with pytest.raises(ValueError, match=r"'x' has image of shape \(2, 5, 5\)"):
        run.log({"y": 1.0, "z": asynclog.Text("t"), "x": asynclog.Image(np.zeros((2, 5, 5)))})
    with pytest.raises(TypeError, match="of type str"):
        run.log_image("x", "a.png")
    assert run.stats.issued == 0
    run.finish()
    assert not daemon.media()


def test_a_name_is_one_item(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    with pytest.warns(AsynclogWarning, match="'a/b' is in one call twice"):
        run.log({"a/b": asynclog.Text("first"), "a": {"b": 1.0}})
    run.finish()
    assert daemon.body(only(daemon)) == b"first"
    assert not daemon.points()


def test_after_finish_it_is_counted(daemon: ScriptedDaemon, begin: Begin) -> None:
    run = begin()
    run.finish()
    with pytest.warns(AsynclogWarning, match=r"after finish\(\)"):
        run.log_text("t", "x")
    assert run.stats.dropped["after_finish"] == 1
