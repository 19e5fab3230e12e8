"""Pictures as PNG: one, or a grid of several, with boxes drawn on it. Source: torch/utils/tensorboard/summary.py."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any, Final

from PIL import Image

from asynclogd.media import wishes
from asynclogd.media.body import Body, counted
from asynclogd.media.boxes import draw
from asynclogd.media.forms import PNG, Encoded
from asynclogd.media.limits import check_pixels
from asynclogd.media.pixels import as_bytes, axes_of, to_picture

_LEVEL: Final = 1
"""Of zlib. A photograph of 3 x 512 x 512 takes 24 ms and 440 KiB at level 1, 32 ms and 429 KiB at 3, 60 ms and 412 KiB
at 6 (zlib-ng); noise takes 34 ms and 768 KiB at each. The time is taken from the training's CPUs, the 7 % from a disk.
"""


def encode(body: Body, options: Mapping[str, Any]) -> Encoded:
    """Any array of 2 to 4 dimensions. uint8 is 0..255, all else 0..1."""
    order = axes_of(body.shape("image"), wishes.word(options, "dataformats", "CHW"))
    pixels, lost = as_bytes(body, "image")
    picture = to_picture(pixels, order)
    height, width, channels = picture.shape
    rescale = wishes.real(options, "rescale", 1.0, 1e-4, 1000.0)
    size = int(width * rescale), int(height * rescale)
    check_pixels("an image, rescaled,", size[1], size[0])
    image = Image.fromarray(picture)
    if "boxes" in body:
        labels = body.text("labels").split("\n") if "labels" in body else None
        draw(image, body.array("boxes", dims=2, axes="(n, 4)"), labels)
    if size != (width, height):
        image = image.resize(size, Image.Resampling.LANCZOS)
    about = {"width": size[0], "height": size[1], "channels": channels, **counted(lost)}
    if size != (width, height):
        about["unscaled"] = [width, height]
    return Encoded(PNG, png(image), about)


def png(image: Image.Image) -> bytes:
    """The file's bytes."""
    out = io.BytesIO()
    image.save(out, format="PNG", compress_level=_LEVEL)
    return out.getvalue()
