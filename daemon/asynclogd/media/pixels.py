"""Arrays as pixels. Source: torch/utils/tensorboard/summary.py, image, and _utils.py, make_grid, convert_to_HWC."""

from __future__ import annotations

import math

import numpy as np

from asynclogd.media.body import Array, Body, nonfinite
from asynclogd.media.forms import UnfitError
from asynclogd.media.limits import check_pixels

_CHUNK = 1 << 20
_COLUMNS = 8
"""Pictures in a row of a grid."""

_LAYOUTS = ("HW", "CHW", "NCHW")
_CHANNELS = {1: 3, 2: 2, 3: 3, 4: 4}
"""Grey is written as RGB, as SummaryWriter does."""


def as_bytes(body: Body, role: str, *, through: type[np.floating] = np.float32) -> tuple[Array, int]:
    """uint8 as it is; all else times 255, clipped to 0..255, its fraction cut off. `through` is the product's dtype.

    Infinities are clipped like other large values; NaN becomes 0, for what it becomes without that is left to the
    CPU. Returns the bytes in the section's shape, and how many values were not finite.
    """
    if body.dtype(role) == "uint8":
        return body.array(role), 0
    out, lost, at = np.empty(body.shape(role), np.uint8), 0, 0
    flat = out.reshape(-1)
    for piece in body.pieces(role, _CHUNK):  # the product takes 4 to 8 times the memory of its bytes
        lost += nonfinite(piece)
        product = piece.astype(through) * through(255)
        product[np.isnan(product)] = 0
        flat[at : at + piece.size] = product.clip(0, 255).astype(np.uint8)
        at += piece.size
    return out, lost


def axes_of(shape: tuple[int, ...], dataformats: str) -> tuple[int, ...]:
    """Where in `shape` the axes of HW, CHW or NCHW are, by `dataformats`, an arrangement of these letters.

    Raises UnfitError when it is none, fits not to the shape, or the picture were empty or too large.
    """
    axes = dataformats.upper()
    wanted = next((layout for layout in _LAYOUTS if sorted(layout) == sorted(axes)), None)
    if wanted is None:
        accepted = "CHW, HWC, HW, NCHW, NHWC or another order of these"
        raise UnfitError(f"dataformats is {dataformats!r}; {accepted} is accepted")
    if len(shape) != len(axes):
        raise UnfitError(f"an image of the shape {list(shape)}; dataformats {dataformats!r} has {len(axes)} axes")
    order = tuple(axes.index(axis) for axis in wanted)
    count, channels, height, width = (1,) * (4 - len(order)) + tuple(shape[axis] for axis in order)
    rows, columns = _rows_and_columns(count, _COLUMNS)
    check_pixels("an image", rows * height, columns * width)
    _written_channels(channels)
    return order


def to_picture(pixels: Array, order: tuple[int, ...]) -> Array:
    """(H, W, C) of bytes whose axes are as `axes_of` says, N pictures as a grid with 8 in a row."""
    ordered = pixels.transpose(order)
    return grid(ordered.reshape((1,) * (4 - ordered.ndim) + ordered.shape), _COLUMNS)


def grid(pictures: Array, columns: int) -> Array:
    """Bytes (N, C, H, W) as one picture (rows * H, columns * W, C); what is left over of the last row is black."""
    count, channels, height, width = pictures.shape
    rows, columns = _rows_and_columns(count, columns)
    out = np.zeros((rows * height, columns * width, _written_channels(channels)), np.uint8)
    for number, picture in enumerate(pictures):
        top, left = number // columns * height, number % columns * width
        out[top : top + height, left : left + width] = picture.transpose(1, 2, 0)
    return out


def _rows_and_columns(count: int, columns: int) -> tuple[int, int]:
    columns = min(count, columns)
    return (math.ceil(count / columns), columns) if columns else (0, 0)


def _written_channels(channels: int) -> int:
    if channels not in _CHANNELS:
        accepted = "1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA)"
        raise UnfitError(f"an image of {channels} channels; {accepted} are accepted")
    return _CHANNELS[channels]
