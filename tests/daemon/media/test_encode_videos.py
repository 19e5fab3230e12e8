"""Videos: GIF frames are compared with the input, and the arrangement of clips with that of torch.utils.tensorboard.
(tests/client/test_summary_writer_video.py compares with whole GIFs of SummaryWriter's.)
"""

from __future__ import annotations

import io
import mmap
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageSequence

from asynclog_proto.media import Section
from asynclogd.media.encode import encode
from asynclogd.media.forms import GIF, Encoded, UnfitError
from asynclogd.media.videos import durations
from tests.daemon.media.laid import encoded, refusal


def frames(made: Encoded) -> list[np.ndarray]:
    assert made.form == GIF
    with Image.open(io.BytesIO(made.data), formats=["GIF"]) as gif:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(gif)]


def clips(count: int, length: int, channels: int, dtype: str = "uint8") -> np.ndarray:
    """Few colours, so that a palette has all of them, and no two frames alike."""
    rng = np.random.default_rng(count)
    video = rng.choice(np.array([0, 51, 255], np.uint8), (count, length, channels, 6, 5))
    video[:, :, :, 0, 0] = (255 * np.arange(length)[:, None] // max(1, length - 1)).astype(np.uint8)
    return video if dtype == "uint8" else (video / 255).astype(dtype)


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 8, 9])
def test_frames_are_those_that_summary_writer_makes_of_the_clips(count: int, channels: int, dtype: str) -> None:
    from torch.utils.tensorboard._utils import _prepare_video

    video = clips(count, 4, channels, dtype)
    prepared = (_prepare_video(video).astype(np.float32) * 255).clip(0, 255).astype(np.uint8)
    made = encoded("video", {"fps": 5}, video=video)
    found = frames(made)
    assert len(found) == 4
    for ours, theirs in zip(found, prepared, strict=True):
        assert np.array_equal(ours, np.broadcast_to(theirs, ours.shape))
    height, width = prepared.shape[1:3]
    about = {"width": width, "height": height, "channels": channels, "frames": 4, "fps": 5.0}
    assert made.options == about


def test_nan_is_black_and_counted() -> None:
    video = clips(1, 2, 3, "float32")
    video[0, 1, 0, 2, 2] = np.nan
    made = encoded("video", video=video)
    assert frames(made)[1][2, 2, 0] == 0
    assert made.options["nonfinite"] == 1
    assert made.options["fps"] == 4.0


def test_a_gif_says_its_times() -> None:
    video = clips(1, 3, 3)
    with Image.open(io.BytesIO(encoded("video", {"fps": 8}, video=video).data)) as gif:
        assert [frame.info["duration"] for frame in ImageSequence.Iterator(gif)] == [120, 130, 130]
        assert gif.info["loop"] == 0


@given(st.integers(1, 500), st.floats(0.1, 50))
def test_frames_last_as_long_as_the_rate_says(count: int, fps: float) -> None:
    found = durations(count, fps)
    assert len(found) == count
    assert all(duration >= 20 and duration % 10 == 0 for duration in found)
    assert sum(found) == pytest.approx(1000 * count / fps, abs=5.1)


def test_a_frame_is_never_shorter_than_browsers_show() -> None:
    assert set(durations(10, 1000.0)) == {20}


@pytest.mark.parametrize(
    ("video", "options", "told"),
    [
        (np.zeros((2, 3, 8, 8)), {}, "video has the shape [2, 3, 8, 8]; (N, T, C, H, W) is accepted"),
        (np.zeros((1, 2, 2, 8, 8)), {}, "a video of 2 channels; 1, 3 or 4 are accepted"),
        (np.zeros((1, 0, 3, 8, 8)), {}, "a video of 8 x 8 pixels is empty"),
        (np.zeros((0, 2, 3, 8, 8)), {}, "a video of 0 x 0 pixels is empty"),
        (np.zeros((1, 2, 3, 8, 8)), {"fps": 0}, "fps is 0"),
        (np.zeros((1, 2, 3, 8, 8)), {"fps": 1e-300}, "fps is 1e-300; a number from 0.01 to 1000"),
        (np.zeros((1, 2, 3, 8, 8)), {"fps": "fast"}, "fps is 'fast'"),
        (np.zeros((1, 10_001, 1, 1, 1), np.uint8), {}, "10001 frames; at most 10000"),
        ("film", {}, "video has the dtype text"),
    ],
)  # fmt: skip
def test_what_is_no_video_is_told(video: Any, options: dict[str, Any], told: str) -> None:
    assert told in refusal("video", options, video=video)


def test_too_many_pixels_in_all_frames_are_refused() -> None:
    about = Section("video", "uint8", (1, 300, 1, 1000, 1000))
    told = "300 frames of 1000 x 1000 pixels; 268 megapixels in all frames"
    with mmap.mmap(-1, about.size) as body, memoryview(body) as view, pytest.raises(UnfitError, match=told):
        encode("video", [about], {}, view)


@pytest.mark.parametrize("colours", [3, 256, 5000])
def test_frames_are_exact_up_to_256_colours_and_near_beyond(colours: int) -> None:
    rng = np.random.default_rng(colours)
    palette = rng.integers(0, 255, (colours, 3), np.uint8)
    frame = palette[rng.integers(0, colours, (80, 80))]
    (found,) = frames(encoded("video", video=frame.transpose(2, 0, 1)[None, None]))
    if colours <= 256:
        assert np.array_equal(found, frame)
    assert np.abs(found.astype(int) - frame).mean() < 16  # colours all over the cube are the worst


def test_alpha_is_left_out() -> None:
    video = np.concatenate([clips(2, 3, 3), np.zeros((2, 3, 1, 6, 5), np.uint8)], 2)
    made = encoded("video", video=video)
    assert made.data == encoded("video", video=clips(2, 3, 3)).data
    assert made.options["channels"] == 3
