"""How large what an encoder makes may be. Each is checked before anything of the size is allocated."""

from __future__ import annotations

from asynclogd.media.forms import UnfitError

MAX_PIXELS = 64 << 20
"""Of one picture, a grid, a sprite or a frame."""

MAX_FRAMES = 10_000
MAX_VIDEO_PIXELS = 256 << 20
"""Of all frames: four minutes of 512 x 512 at 4 a second."""

MAX_SIDE = 65_500
"""Pixels. What a GIF can say, and what browsers show."""

MAX_BOXES = 10_000
MAX_CHANNELS = 32
"""Of a sound."""

MAX_SAMPLES = 100_000_000
"""Of a sound, over all channels: 200 MB of WAV, 38 minutes of mono at 44.1 kHz."""

MAX_BINS = 1 << 20
MAX_CELLS = 1_000_000
"""Of a table."""

MAX_COORDINATES = 10_000_000
"""Numbers of an embedding or a mesh, which are written as text or as protobuf."""


def check_pixels(what: str, height: int, width: int, count: int = 1) -> None:
    """Raises UnfitError for a picture without pixels, or with too many."""
    if not height or not width or not count:
        raise UnfitError(f"{what} of {height} x {width} pixels is empty")
    if max(height, width) > MAX_SIDE:
        raise UnfitError(f"{what} of {height} x {width} pixels; a side of at most {MAX_SIDE} is accepted")
    if height * width > MAX_PIXELS:
        raise UnfitError(f"{what} of {height} x {width} pixels; {MAX_PIXELS // 10**6} megapixels are accepted")
    if height * width * count > MAX_VIDEO_PIXELS:
        most = f"{MAX_VIDEO_PIXELS // 10**6} megapixels in all frames are accepted"
        raise UnfitError(f"{what} of {count} frames of {height} x {width} pixels; {most}")


def check_count(what: str, found: int, most: int) -> None:
    """Raises UnfitError when there are too many of them."""
    if found > most:
        raise UnfitError(f"{found} {what}; at most {most} are accepted")
