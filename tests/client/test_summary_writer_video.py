"""SummaryWriter's videos beside torch's, which moviepy draws."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageSequence

import asynclog
from tests.client.eventfiles import values, written

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("error::asynclog.AsynclogWarning")]

FRAMES = 5


def few_colours(clips: int, channels: int = 3) -> np.ndarray:
    """(N, T, C, H, W) in no more colours than a GIF's frame has, and no two frames alike."""
    video = np.random.default_rng(clips).choice(np.array([0, 51, 255], np.uint8), (clips, FRAMES, channels, 12, 20))
    video[:, :, :, 0, 0] = 50 * np.arange(FRAMES, dtype=np.uint8)[:, None]
    return video


def many_colours() -> np.ndarray:
    """A gradient that moves: 3840 colours in each frame."""
    y, x, time = np.meshgrid(np.linspace(0, 1, 48), np.linspace(0, 1, 80), np.linspace(0, 0.5, FRAMES), indexing="ij")
    video: np.ndarray = np.stack([x, y, (x + y) / 4 + time]).transpose(3, 0, 1, 2)[None].astype(np.float32)
    return video


def gif(directory: Path, tag: str) -> tuple[int, int, int, Image.Image]:
    """The step and the size that the event file tells, and the picture."""
    ((step, _, array),) = values(directory, "images")[tag]
    width, height, encoded = array.tolist()
    return step, int(width), int(height), Image.open(io.BytesIO(encoded), formats=["GIF"])


def frames(picture: Image.Image) -> np.ndarray:
    return np.stack([np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(picture)]).astype(int)


def durations(picture: Image.Image) -> list[int]:
    return [frame.info["duration"] for frame in ImageSequence.Iterator(picture)]


def both(add: Any, tmp_path: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """By tag the frames of torch's writer and of ours, whose steps and sizes are the same."""
    found = {}
    theirs, ours = written(add, tmp_path)
    assert set(values(ours, "images")) == set(values(theirs, "images")) != set()
    for tag in values(ours, "images"):
        *expected, picture = gif(theirs, tag)
        *own, own_picture = gif(ours, tag)
        assert own == expected, tag
        assert own_picture.size == picture.size, tag
        found[tag] = frames(picture), frames(own_picture)
    return found


def test_videos_have_torchs_frames(tmp_path: Path) -> None:
    def add(writer: Any) -> None:
        writer.add_video("bytes", few_colours(1), 5, fps=10)
        writer.add_video("floats", few_colours(2).astype(np.float32) / 255, 5)
        writer.add_video("a grid that is filled up", few_colours(3), 5)

    for tag, (theirs, ours) in both(add, tmp_path).items():
        assert len(ours) == FRAMES
        np.testing.assert_array_equal(ours, theirs, tag)


def test_a_video_of_more_colours_than_a_gif_has_is_near_its_frames_and_torchs(tmp_path: Path) -> None:
    video = many_colours()
    ((theirs, ours),) = both(lambda writer: writer.add_video("v", video), tmp_path).values()
    expected = (video[0] * 255).astype(int).transpose(0, 2, 3, 1)
    assert np.abs(ours - theirs).mean() < 8
    assert np.abs(ours - expected).mean() < 2 * np.abs(theirs - expected).mean() < 8


def test_a_frame_lasts_as_long_as_the_rate_says(tmp_path: Path) -> None:
    """Torch's last 0 ms: moviepy tells imageio seconds, which takes them for milliseconds since its 2.28."""
    with asynclog.SummaryWriter(tmp_path / "run") as writer:
        for fps in (4, 10):
            writer.add_video(f"{fps} a second", few_colours(1), fps=fps)
    found = [durations(gif(tmp_path / "run", tag)[3]) for tag in ("4 a second", "10 a second")]
    assert found == [[250] * FRAMES, [100] * FRAMES]
