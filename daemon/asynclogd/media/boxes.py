"""Boxes on a picture: red, 2 pixels, the label on red at the bottom. Source: torch's summary.py, _draw_single_box."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from asynclogd.media.body import Array, nonfinite, shown
from asynclogd.media.forms import UnfitError
from asynclogd.media.limits import MAX_BOXES, check_count

_FAR = 1e6
"""Nothing of a picture is there: a box that reaches further is drawn as one that ends here."""

_LONGEST = 256
"""Characters of a label that are drawn."""

_BOX, _TEXT = "Red", "black"


def draw(image: Image.Image, boxes: Array, labels: list[str] | None) -> None:
    """Draw boxes (n, 4), xmin, ymin, xmax, ymax in pixels. Labels that are not as many as the boxes are left out."""
    if boxes.shape[1] != 4:
        raise UnfitError(f"boxes of {shown(boxes)}; (n, 4) is accepted: xmin, ymin, xmax, ymax")
    check_count("boxes", len(boxes), MAX_BOXES)
    if lost := nonfinite(boxes):
        raise UnfitError(f"boxes with {lost} coordinates that are NaN or infinite; pixels are accepted")
    if labels is not None and len(labels) != len(boxes):
        labels = None
    canvas, font = ImageDraw.Draw(image), ImageFont.load_default()
    for number, (left, top, right, bottom) in enumerate(np.clip(boxes, -_FAR, _FAR).tolist()):
        canvas.line([(left, top), (left, bottom), (right, bottom), (right, top), (left, top)], width=2, fill=_BOX)
        if labels is not None and labels[number]:
            _label(canvas, font, labels[number][:_LONGEST], left, bottom)


def _label(
    canvas: ImageDraw.ImageDraw,
    font: ImageFont.ImageFont | ImageFont.FreeTypeFont,
    label: str,
    left: float,
    bottom: float,
) -> None:
    x0, y0, x1, y1 = font.getbbox(label)
    width, height = x1 - x0, y1 - y0
    margin = math.ceil(0.05 * height)
    canvas.rectangle([(left, bottom - height - 2 * margin), (left + width, bottom)], fill=_BOX)
    canvas.text((left + margin, bottom - height - margin), label, fill=_TEXT, font=font)
