"""Images of PIL, figures of matplotlib and frames of pandas."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import asynclog
from asynclog import AsynclogWarning
from asynclog_proto.media import Media
from tests.client.scripted import ScriptedDaemon

Begin = Callable[..., asynclog.Run]


def logged(daemon: ScriptedDaemon, run: asynclog.Run) -> tuple[Media, Any]:
    run.flush()
    (record,) = daemon.media()
    (section,) = record.sections
    return record, np.frombuffer(daemon.body(record), section.dtype).reshape(section.shape)


@pytest.mark.parametrize(
    ("mode", "shape", "dataformats"),
    [
        ("L", (4, 6), "HW"), ("RGB", (4, 6, 3), "HWC"), ("RGBA", (4, 6, 4), "HWC"), ("1", (4, 6), "HW"),
        ("P", (4, 6, 3), "HWC"), ("LA", (4, 6, 4), "HWC"), ("CMYK", (4, 6, 3), "HWC"), ("F", (4, 6), "HW"),
        ("I;16", (4, 6), "HW"), ("I", (4, 6), "HW"),
    ],
)  # fmt: skip
def test_images_of_every_mode(
    mode: str, shape: tuple[int, ...], dataformats: str, daemon: ScriptedDaemon, begin: Begin
) -> None:
    pil = pytest.importorskip("PIL.Image")
    run = begin()
    run.log_image("x", pil.new(mode, (6, 4)), dataformats="CHW")
    record, pixels = logged(daemon, run)
    assert (pixels.dtype, pixels.shape, record.options) == (np.uint8, shape, {"dataformats": dataformats})


def test_pixels_of_an_image(daemon: ScriptedDaemon, begin: Begin) -> None:
    pil = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    run = begin()
    run.log_image("x", pil.fromarray(pixels))
    assert np.array_equal(logged(daemon, run)[1], pixels)


def test_an_image_without_pixels_is_told(daemon: ScriptedDaemon, begin: Begin) -> None:
    pil = pytest.importorskip("PIL.Image")
    run = begin()
    with pytest.warns(AsynclogWarning, match="of 0 x 4 pixels"):
        run.log_image("x", pil.new("L", (0, 4)))
    run.finish()


@pytest.fixture
def plt() -> Iterator[Any]:
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("svg")
    from matplotlib import pyplot as plt

    yield plt
    plt.close("all")


def test_a_figure_is_drawn_and_keeps_its_canvas(plt: Any, daemon: ScriptedDaemon, begin: Begin) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure, axes = plt.subplots(figsize=(2, 1), dpi=50)
    axes.plot([1, 2])
    own = figure.canvas
    run = begin()
    run.log({"x": asynclog.Figure(figure, caption="c")})
    record, pixels = logged(daemon, run)
    assert figure.canvas is own
    assert record.options == {"dataformats": "HWC", "caption": "c"}
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    assert np.array_equal(pixels, np.asarray(canvas.buffer_rgba()))
    assert pixels.shape == (50, 100, 4)


def test_a_closed_figure_is_told(plt: Any, daemon: ScriptedDaemon, begin: Begin) -> None:
    closed = plt.figure()
    plt.close(closed)
    plt.figure()  # it takes the number of the one that was closed
    run = begin()
    with pytest.warns(AsynclogWarning, match="'x' is a figure that was closed"):
        run.log_figure("x", closed)
    run.finish()
    assert run.stats.dropped["bad_value"] == 1


def test_a_figure_is_closed_when_that_is_asked_for(plt: Any, daemon: ScriptedDaemon, begin: Begin) -> None:
    figure = plt.figure(figsize=(1, 1), dpi=50)
    run = begin()
    run.log_figure("x", figure, close=True)
    assert not plt.get_fignums()
    assert logged(daemon, run)[1].shape == (50, 50, 4)


def test_a_figure_that_pyplot_does_not_know(daemon: ScriptedDaemon, begin: Begin) -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure(figsize=(1, 1), dpi=50)
    run = begin()
    run.log_figure("x", figure)
    assert logged(daemon, run)[1].shape == (50, 50, 4)


def test_a_frame_of_pandas_is_a_table(daemon: ScriptedDaemon, begin: Begin) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"n": [1, 2], "when": pandas.to_datetime(["2026-01-01", "2026-01-02"])})
    run = begin()
    run.log_table("x", frame)
    run.flush()
    (record,) = daemon.media()
    table = json.loads(daemon.body(record))
    assert table == {"columns": ["n", "when"], "rows": [[1, "2026-01-01 00:00:00"], [2, "2026-01-02 00:00:00"]]}
