"""The one copy of a media item: its parts end to end, C order, little-endian."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from asynclog._media.form import Part

_NUMPY = {
    "uint8": "u1", "int8": "i1", "bool": "?", "int16": "<i2", "float16": "<f2", "bfloat16": "<i2", "int32": "<i4",
    "float32": "<f4", "int64": "<i8", "float64": "<f8",
}  # fmt: skip
"""The dtype that NumPy writes a section as; bfloat16 comes as its bits."""


def lay(view: memoryview, parts: Iterable[Part]) -> None:
    """Copy the parts into `view`, which has their size. NumPy was measured as fast as a memoryview's assignment for
    arrays without gaps (0.6 ms for 3 MB), and it casts and gathers in the same pass.
    """
    at = 0
    for part in parts:
        end = at + part.size
        if isinstance(part.data, (bytes, memoryview)):
            view[at:end] = part.data
        elif end > at:
            _copy(view[at:end], part)
        at = end


def _copy(view: memoryview, part: Part) -> None:
    import numpy as np

    target = np.frombuffer(view, _NUMPY[part.section.dtype]).reshape(part.section.shape)
    if part.data.dtype == target.dtype:
        np.copyto(target, part.data)
        return
    with np.errstate(all="ignore"):  # a cast of NaN to an integer is the caller's business, and no warning here
        np.copyto(target, part.data, casting="unsafe")


def write_at(descriptor: int, view: memoryview, offset: int) -> None:
    """Write all of the bytes to a file. Raises OSError."""
    done = 0
    while done < len(view):
        done += os.pwrite(descriptor, view[done:], offset + done)


def flat(part: Part) -> memoryview:
    """A part's bytes, without a copy where they lie like that already."""
    if isinstance(part.data, (bytes, memoryview)):
        return memoryview(part.data)
    import numpy as np

    with np.errstate(all="ignore"):
        array: Any = np.ascontiguousarray(part.data, dtype=_NUMPY[part.section.dtype])
    return memoryview(array.reshape(-1).view(np.uint8))
