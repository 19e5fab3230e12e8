"""Images beside torch.utils.tensorboard's, pixel for pixel."""

from __future__ import annotations

import io
import itertools
import mmap
import resource
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from asynclog_proto.media import Section
from asynclogd.media.encode import encode
from asynclogd.media.forms import PNG, Encoded, UnfitError
from tests.daemon.media.laid import encoded, refusal

torch_too = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]

LAYOUTS = ["".join(axes) for letters in ("HW", "HWC", "NHWC") for axes in itertools.permutations(letters)]
SIZES = {"N": st.integers(1, 19), "C": st.sampled_from([1, 3]), "H": st.integers(1, 7), "W": st.integers(1, 7)}
DTYPES = ["uint8", "int8", "bool", "int16", "float16", "int32", "float32", "int64", "float64"]


def decoded(made: Encoded | bytes) -> np.ndarray:
    data = made.data if isinstance(made, Encoded) else made
    return np.asarray(Image.open(io.BytesIO(data), formats=["PNG"]))


@st.composite
def pictures(draw: st.DrawFn) -> tuple[np.ndarray, str]:
    dataformats = draw(st.sampled_from(LAYOUTS))
    shape = [draw(SIZES[axis]) for axis in dataformats]
    if "N" not in dataformats and "C" in dataformats:
        shape[dataformats.index("C")] = draw(st.integers(1, 4))
    dtype = np.dtype(draw(st.sampled_from(DTYPES)))
    values = st.floats(-0.5, 1.5, width=16) if dtype.kind == "f" else None
    spelt = draw(st.sampled_from([dataformats, dataformats.lower()]))
    return draw(hnp.arrays(dtype, tuple(shape), elements=values)), spelt


class TestBesideSummaryWriter:
    pytestmark = torch_too

    @given(pictures())
    @settings(max_examples=200)
    def test_any_shape_dtype_and_dataformats(self, picture: tuple[np.ndarray, str]) -> None:
        from torch.utils.tensorboard import summary

        array, dataformats = picture
        (theirs,) = summary.image("x", array, dataformats=dataformats).value
        ours = encoded("image", {"dataformats": dataformats}, image=array)
        assert np.array_equal(decoded(ours), decoded(theirs.image.encoded_image_string))
        assert ours.form == PNG
        assert ours.options == {
            "width": theirs.image.width,
            "height": theirs.image.height,
            "channels": theirs.image.colorspace,
        }

    @pytest.mark.parametrize("rescale", [0.5, 1.0, 2.5])
    @pytest.mark.parametrize("labels", [None, ["cat", "", "a dog, ünï"], ["too", "few"]])
    def test_boxes_labels_and_rescale(self, rescale: float, labels: list[str] | None) -> None:
        from torch.utils.tensorboard import summary

        image = np.random.default_rng(1).random((3, 60, 80), np.float32)
        boxes = np.array([[2, 3, 30, 40], [10.5, 5.25, 70, 58], [-20, -5, 200, 20]], np.float32)
        theirs_labels = labels if labels is not None and len(labels) == len(boxes) else None
        (theirs,) = summary.image_boxes("x", image, boxes, rescale, "CHW", theirs_labels).value
        parts: dict[str, Any] = {} if labels is None else {"labels": "\n".join(labels)}
        ours = encoded("image", {"rescale": rescale, "caption": "c"}, image=image, boxes=boxes, **parts)
        assert np.array_equal(decoded(ours), decoded(theirs.image.encoded_image_string))
        unscaled = ours.options.get("unscaled", [ours.options["width"], ours.options["height"]])
        assert unscaled == [theirs.image.width, theirs.image.height]

    def test_boxes_on_a_grid_and_on_rgba(self) -> None:
        from torch.utils.tensorboard import summary

        boxes = np.array([[1, 1, 20, 12]], np.float32)
        rng = np.random.default_rng(2)
        for shape, dataformats in (((9, 3, 8, 8), "NCHW"), ((16, 24, 4), "HWC"), ((16, 24), "HW")):
            image = rng.integers(0, 255, shape, np.uint8)
            (theirs,) = summary.image_boxes("x", image, boxes, dataformats=dataformats, labels=["l"]).value
            ours = encoded("image", {"dataformats": dataformats}, image=image, boxes=boxes, labels="l")
            assert np.array_equal(decoded(ours), decoded(theirs.image.encoded_image_string))

    def test_bfloat16(self) -> None:
        import torch
        from torch.utils.tensorboard import summary

        image = torch.linspace(-0.1, 1.1, 3 * 16 * 16).reshape(3, 16, 16).bfloat16()
        (theirs,) = summary.image("x", image, dataformats="CHW").value
        assert np.array_equal(decoded(encoded("image", image=image)), decoded(theirs.image.encoded_image_string))

    def test_infinities_are_clipped(self) -> None:
        from torch.utils.tensorboard import summary

        image = np.array([[np.inf, -np.inf, 0.5, 3e38]], np.float32)
        with np.errstate(over="ignore"):
            (theirs,) = summary.image("x", image, dataformats="HW").value
        ours = encoded("image", {"dataformats": "HW"}, image=image)
        assert np.array_equal(decoded(ours), decoded(theirs.image.encoded_image_string))
        assert ours.options["nonfinite"] == 2


def test_nan_is_black_and_counted() -> None:
    image = np.full((3, 4, 4), 0.5, np.float64)
    image[0, 1, 2] = image[2, 3, 3] = np.nan
    made = encoded("image", image=image)
    assert decoded(made)[1, 2].tolist() == [0, 127, 127]
    assert decoded(made)[0, 0].tolist() == [127, 127, 127]
    assert made.options["nonfinite"] == 2


def test_a_batch_with_alpha_is_a_grid_with_alpha() -> None:
    batch = np.random.default_rng(3).integers(0, 255, (9, 4, 5, 6), np.uint8)
    picture = decoded(encoded("image", {"dataformats": "NCHW"}, image=batch))
    assert picture.shape == (10, 48, 4)
    assert np.array_equal(picture[5:, :6], batch[8].transpose(1, 2, 0))
    assert not picture[5:, 6:].any()


def test_conversion_in_pieces_is_that_of_the_whole() -> None:
    """More elements than one piece has."""
    image = np.random.default_rng(4).random((3, 700, 800), np.float32)
    expected = (image * 255).astype(np.uint8).transpose(1, 2, 0)
    assert np.array_equal(decoded(encoded("image", image=image)), expected)


def test_equal_input_is_equal_bytes() -> None:
    image = np.random.default_rng(5).random((3, 20, 20), np.float32)
    assert encoded("image", image=image).data == encoded("image", image=image.copy()).data


ZEROS = np.zeros((3, 8, 8), np.uint8)


@pytest.mark.parametrize(
    ("parts", "options", "told"),
    [
        ({"image": ZEROS[:0]}, {}, "an image of 0 channels; 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA)"),
        ({"image": ZEROS[:, :, :0]}, {}, "an image of 8 x 0 pixels is empty"),
        ({"image": ZEROS[None][:0]}, {"dataformats": "NCHW"}, "an image of 0 x 0 pixels is empty"),
        ({"image": ZEROS[0]}, {}, "an image of the shape [8, 8]; dataformats 'CHW' has 3 axes"),
        ({"image": np.zeros(())}, {}, "an image of the shape []"),
        ({"image": np.zeros((5, 8, 8))}, {}, "an image of 5 channels"),
        ({"image": ZEROS}, {"dataformats": "CWD"}, "CHW, HWC, HW, NCHW, NHWC or another order of these is accepted"),
        ({"image": ZEROS}, {"dataformats": "HHW"}, "dataformats is 'HHW'"),
        ({"image": ZEROS}, {"dataformats": 3}, "dataformats is 3; a string is accepted"),
        ({"image": ZEROS}, {"rescale": 0}, "rescale is 0; a number from 0.0001 to 1000"),
        ({"image": ZEROS}, {"rescale": float("nan")}, "rescale is nan"),
        ({"image": ZEROS}, {"rescale": 0.1}, "an image, rescaled, of 0 x 0 pixels is empty"),
        ({"image": np.zeros((1, 300, 300))}, {"rescale": 999}, "a side of at most 65500"),
        ({"image": np.zeros((1, 9000, 1), np.uint8)}, {"rescale": 7.5}, "a side of at most 65500"),
        ({"image": "pixels"}, {}, "image has the dtype text; numbers are accepted"),
        ({"image": b"pixels"}, {}, "image has the dtype bytes; numbers are accepted"),
        ({"image": ZEROS, "boxes": np.zeros((2, 3))}, {}, "boxes of float64 [2, 3]; (n, 4) is accepted"),
        ({"image": ZEROS, "boxes": np.zeros(4)}, {}, "boxes has the shape [4]; (n, 4) is accepted"),
        ({"image": ZEROS, "boxes": np.full((1, 4), np.nan)}, {}, "boxes with 4 coordinates that are NaN or infinite"),
        ({"image": ZEROS, "boxes": np.zeros((10_001, 4), np.float32)}, {}, "10001 boxes; at most 10000"),
        ({"image": ZEROS, "boxes": np.zeros((1, 4)), "labels": b"\xff"}, {}, "labels has the dtype bytes; text"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_told(parts: dict[str, Any], options: dict[str, Any], told: str) -> None:
    assert told in refusal("image", options, **parts)


@pytest.mark.fault("media-hostile")
def test_100_megapixels_are_refused_before_a_byte_is_taken() -> None:
    """The body is virtual memory that nothing touches: taking a copy of it would show."""
    with mmap.mmap(-1, 100_000_000) as body, memoryview(body) as view:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        for shape, dataformats in (((1, 10_000, 10_000), "CHW"), ((100, 1, 1000, 1000), "NCHW")):
            with pytest.raises(UnfitError, match="67 megapixels are accepted"):
                encode("image", [Section("image", "uint8", shape)], {"dataformats": dataformats}, view)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 20_000  # KiB


def test_a_far_box_and_a_long_label_take_no_memory() -> None:
    boxes = np.array([[-3e38, -1e30, 3e38, 1e30], [1, 1, 5, 5]], np.float32)
    made = encoded("image", image=ZEROS, boxes=boxes, labels="x" * 100_000 + "\n")
    assert decoded(made).shape == (8, 8, 3)
