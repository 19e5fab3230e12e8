"""Whatever a rank lays down is encoded or refused with words: no other error, and no warning, leaves the encoders."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asynclog_proto.media import DTYPES, KINDS, Section
from asynclogd.media.encode import encode
from asynclogd.media.forms import Encoded, UnfitError

ROLES: dict[str, list[list[str]]] = {
    "image": [["image"], ["image", "boxes"], ["image", "boxes", "labels"]],
    "video": [["video"]],
    "audio": [["audio"]],
    "text": [["text"]],
    "histogram": [["values"], ["stats", "edges", "counts"]],
    "pr_curve": [["labels", "predictions"], ["labels", "predictions", "weights"], ["curve"]],
    "embedding": [["matrix"], ["matrix", "metadata"], ["matrix", "label_images"]],
    "graph": [["graph"], ["graph", "run_metadata"]],
    "mesh": [["vertices"], ["vertices", "colors", "faces"]],
    "table": [["table"]],
    "layout": [["layout"]],
    "html": [["html"]],
    "file": [[], ["file"]],
}
AXES = {"image": (2, 4), "video": (5, 5), "audio": (1, 2), "label_images": (4, 4), "stats": (1, 1)}
TEXTS = ("labels", "metadata", "table", "layout", "text", "html")

numbers = st.none() | st.booleans() | st.integers(-3, 200) | st.floats() | st.text(max_size=5)
OPTIONS = {
    "dataformats": st.sampled_from(["CHW", "HWC", "HW", "NCHW", "NHWC", "WH", "x", 3]),
    "bins": st.sampled_from(["tensorflow", "auto", "fd", "sqrt", "doane", "scott", "stone", "none", 5, -1, [0.0, 1.0]]),
    "metadata_header": st.none() | st.lists(st.text(max_size=3), max_size=3),
    "config": st.sampled_from([None, "{}", "[", 3]),
    "rescale": numbers, "fps": numbers, "sample_rate": numbers, "max_bins": numbers, "num_thresholds": numbers,
    "nonfinite": numbers, "path": numbers,
}  # fmt: skip

json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def sections(draw: st.DrawFn, role: str) -> tuple[Section, bytes]:
    if role in TEXTS and draw(st.integers(0, 4)):
        data = draw(json_values.map(json.dumps).map(str.encode) | st.binary(max_size=30))
        return Section(role, "text", (len(data),)), data
    dtype = draw(st.sampled_from([*DTYPES]))
    low, high = AXES.get(role, (1, 3))
    shape = tuple(draw(st.lists(st.integers(0, 5), min_size=low, max_size=high)))
    shape = shape if dtype not in ("text", "bytes") else shape[:1]
    if role in ("vertices", "colors", "faces") and len(shape) == 3:
        shape = (*shape[:2], 3)
    about = Section(role, dtype, shape)
    if draw(st.booleans()):
        return about, draw(st.binary(min_size=about.size, max_size=about.size))
    return about, np.random.default_rng(draw(st.integers(0, 9))).bytes(about.size)


@st.composite
def records(draw: st.DrawFn) -> tuple[str, list[Section], dict[str, Any], bytes]:
    kind = draw(st.sampled_from(KINDS))
    made = [draw(sections(role)) for role in draw(st.sampled_from(ROLES[kind]))]
    options = draw(st.fixed_dictionaries({}, optional=OPTIONS))
    return kind, [about for about, _ in made], options, b"".join(data for _, data in made)


def floats(role: str, shape: tuple[int, ...], values: list[float]) -> tuple[Section, bytes]:
    return Section(role, "float64", shape), np.array(values, "<f8").tobytes()


@example(
    ("image", [floats("image", (1, 2), [1e308, -1e308])[0]], {"dataformats": "HW"}, floats("", (), [1e308] * 2)[1])
)
@example(("histogram", [floats("values", (2,), [])[0]], {"bins": "auto"}, floats("", (), [1e308, -1e308])[1]))
@example(("histogram", [floats("values", (3,), [])[0]], {}, floats("", (), [5e-324, -5e-324, 1e308])[1]))
@given(records())
@settings(max_examples=1500)
def test_it_is_encoded_or_refused(record: tuple[str, list[Section], dict[str, Any], bytes]) -> None:
    kind, about, options, body = record
    try:
        made = encode(kind, about, options, memoryview(body))
    except UnfitError as refused:
        told = str(refused)
    else:
        told = made.form
        assert isinstance(made, Encoded)
    assert told


@pytest.mark.parametrize("kind", KINDS)
def test_the_body_is_not_kept(kind: str) -> None:
    """The bytes are the outbox's, which is written again when the item is done."""
    for roles in ROLES[kind]:
        body = bytearray(b'"x"\n' * 1200)
        size = len(body) // max(1, len(roles))
        about = [Section(role, "text" if role in TEXTS else "uint8", (size,)) for role in roles]
        with memoryview(body)[: size * len(roles)] as view:
            try:
                encode(kind, about, {"path": "/x"}, view)
            except UnfitError:
                continue
        body.clear()  # raises BufferError while anything looks at it
