"""How large what an encoder makes may be. Each is checked before anything of the size is allocated."""

from __future__ import annotations

from asynclogd.media.forms import UnfitError

MAX_PIXELS = 64_000_000
"""Of one picture, a grid or a sprite, and of all frames of a video."""

MAX_FRAMES = 10_000
MAX_SIDE = 65_500
"""Pixels. What a GIF can say, and what browsers show."""

MAX_BOXES = 10_000
MAX_CHANNELS = 16
"""Of a sound."""

MAX_SAMPLES = 100_000_000
"""Of a sound, over all channels: 200 MB of WAV, 38 minutes of mono at 44.1 kHz."""

MAX_BINS = 65_536
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
    if height * width * count > MAX_PIXELS:
        frames = f", {count} times" if count > 1 else ""
        most = MAX_PIXELS // 1_000_000
        raise UnfitError(f"{what} of {height} x {width} pixels{frames}; {most} megapixels in all are accepted")


def check_count(what: str, found: int, most: int) -> None:
    """Raises UnfitError when there are too many of them."""
    if found > most:
        raise UnfitError(f"{found} {what}; at most {most} are accepted")
