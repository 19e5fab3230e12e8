"""Videos as GIF, the clips of a batch side by side. Source: torch/utils/tensorboard/_utils.py, _prepare_video."""

from __future__ import annotations

import io
import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from PIL import Image

from asynclogd.media import wishes
from asynclogd.media.body import Array, Body, counted
from asynclogd.media.forms import GIF, Encoded, UnfitError
from asynclogd.media.limits import MAX_FRAMES, check_count, check_pixels
from asynclogd.media.pixels import as_bytes

_COLOURS = 256
_SLOWEST = 0.01
"""Frames a second. A GIF's frame lasts 655 s at most."""

_SHORTEST = 2
"""Hundredths of a second. Browsers show a frame that says less for a tenth."""


def encode(body: Body, options: Mapping[str, Any]) -> Encoded:
    """(N, T, C, H, W), grey, RGB or RGBA, whose alpha is left out; N clips of T frames are one clip of a grid. GIF has
    256 colours a frame.
    """
    clips, frames, channels, height, width = body.shape("video", dims=5, axes="(N, T, C, H, W)")
    if channels not in (1, 3, 4):
        raise UnfitError(f"a video of {channels} channels; 1, 3 or 4 are accepted, axes (N, T, C, H, W)")
    fps = wishes.real(options, "fps", 4.0, _SLOWEST, 1000.0)
    check_count("frames", frames, MAX_FRAMES)
    rows, columns = arrangement(clips)
    check_pixels("a video", rows * height, columns * width, frames)
    pixels, lost = as_bytes(body, "video")
    pictures = _pictures(pixels[:, :, :3], rows, columns)
    size = {"width": columns * width, "height": rows * height, "channels": min(3, channels)}
    about = {**size, "frames": frames, "fps": fps}
    return Encoded(GIF, _gif(pictures, durations(frames, fps)), {**about, **counted(lost)})


def arrangement(clips: int) -> tuple[int, int]:
    """Rows and columns for a batch, which is filled up to a power of two."""
    if not clips:
        return 0, 0
    filled = clips if clips & (clips - 1) == 0 else 1 << clips.bit_length()
    rows = 1 << (clips.bit_length() - 1) // 2
    return rows, filled // rows


def durations(frames: int, fps: float) -> list[int]:
    """Milliseconds of each frame. GIF counts in hundredths of a second, so frames differ where the rate asks for it."""
    ends = [round(number * 100 / fps) for number in range(frames + 1)]
    return [10 * max(_SHORTEST, end - start) for start, end in itertools.pairwise(ends)]


def _pictures(pixels: Array, rows: int, columns: int) -> Iterator[Image.Image]:
    clips, frames, channels, height, width = pixels.shape
    for frame in range(frames):
        canvas = np.zeros((rows * height, columns * width, channels), np.uint8)
        for clip in range(clips):
            top, left = clip // columns * height, clip % columns * width
            canvas[top : top + height, left : left + width] = pixels[clip, frame].transpose(1, 2, 0)
        yield Image.fromarray(canvas[:, :, 0]) if channels == 1 else paletted(Image.fromarray(canvas))


def paletted(picture: Image.Image) -> Image.Image:
    """An RGB picture in 256 colours, exact when it has no more.

    The octree takes 4 ms for a photograph of 512 x 512 and is off by 6.3 of 255 (RMS); median cut, Pillow's own choice
    for a GIF, takes 180 ms and is off by 5.3.
    """
    few = picture.getcolors(_COLOURS) is not None
    method = Image.Quantize.MEDIANCUT if few else Image.Quantize.FASTOCTREE
    return picture.quantize(_COLOURS, method, dither=Image.Dither.NONE)


def _gif(pictures: Iterator[Image.Image], times: list[int]) -> bytes:
    out = io.BytesIO()
    first = next(pictures)
    first.save(out, format="GIF", save_all=True, append_images=pictures, duration=times, loop=0)
    return out.getvalue()
