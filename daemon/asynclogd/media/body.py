"""A media record's body taken apart: arrays that are views of it, texts and bytes, by role."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclog_proto.media import DTYPES, Section
from asynclogd.media.forms import UnfitError

Array = NDArray[Any]

_TYPES = {
    "uint8": "<u1", "int8": "<i1", "int16": "<i2", "int32": "<i4", "int64": "<i8", "float16": "<f2", "float32": "<f4",
    "float64": "<f8",
}  # fmt: skip


class Body:
    """The sections of one item, each looked up by its role. Nothing is copied until it is asked for."""

    def __init__(self, sections: Sequence[Section], body: memoryview) -> None:
        """Raises UnfitError when sections and body don't fit each other."""
        self._places: dict[str, tuple[Section, memoryview]] = {}
        body, at = body.cast("B") if body.nbytes else memoryview(b""), 0
        for section in sections:
            if section.role in self._places:
                raise UnfitError(f"two sections have the role {section.role!r}")
            self._places[section.role] = section, body[at : at + section.size]
            at += section.size
        if at != len(body):
            raise UnfitError(f"sections of {at} bytes in a body of {len(body)}")

    def __contains__(self, role: str) -> bool:
        return role in self._places

    @property
    def roles(self) -> tuple[str, ...]:
        """In the record's order."""
        return tuple(self._places)

    def shape(self, role: str, *, dims: int | None = None, axes: str = "") -> tuple[int, ...]:
        """An array's shape, before there is an array.

        Raises UnfitError when it is text or bytes, or hasn't `dims` dimensions, which `axes` names: "(N, C, H, W)".
        """
        section, _ = self._section(role)
        if section.dtype in ("text", "bytes"):
            raise UnfitError(f"{role} has the dtype {section.dtype}; numbers are accepted")
        if dims is not None and len(section.shape) != dims:
            raise UnfitError(f"{role} has the shape {list(section.shape)}; {axes} is accepted")
        return section.shape

    def array(self, role: str, *, dims: int | None = None, axes: str = "") -> Array:
        """The section as an array, read-only where it is a view: bfloat16 as float32, all others as they are.

        Raises UnfitError as `shape` does.
        """
        self.shape(role, dims=dims, axes=axes)
        return _array(*self._section(role))

    def pieces(self, role: str, size: int) -> Iterator[Array]:
        """The array's elements in order, `size` at a time: what bfloat16 and products take is taken for one piece."""
        section, data = self._section(role)
        self.shape(role)
        step = size * DTYPES[section.dtype]
        for at in range(0, len(data), step):
            piece = data[at : at + step]
            yield _array(Section(role, section.dtype, (len(piece) // DTYPES[section.dtype],)), piece)

    def dtype(self, role: str) -> str:
        """What the record says."""
        return self._section(role)[0].dtype

    def text(self, role: str) -> str:
        """The section as text. Raises UnfitError when it is none, or no UTF-8."""
        section, data = self._section(role)
        if section.dtype != "text":
            raise UnfitError(f"{role} has the dtype {section.dtype}; text is accepted")
        try:
            return str(data, "utf-8")
        except UnicodeDecodeError as error:
            raise UnfitError(f"{role} is no UTF-8: {error.reason} at byte {error.start}") from None

    def raw(self, role: str) -> bytes:
        """The section's bytes, whatever they are."""
        return bytes(self._section(role)[1])

    def _section(self, role: str) -> tuple[Section, memoryview]:
        try:
            return self._places[role]
        except KeyError:
            raise UnfitError(f"there is no section {role!r}, only {', '.join(self._places) or 'none'}") from None


def _array(section: Section, data: memoryview) -> Array:
    if section.dtype == "bfloat16":
        # The upper half of a float32: its bits, moved up.
        wide = np.frombuffer(data, "<u2").astype(np.uint32)
        wide <<= np.uint32(16)
        return wide.view(np.float32).reshape(section.shape)
    if section.dtype == "bool":
        bits: Array = np.frombuffer(data, np.uint8) != 0
        return bits.reshape(section.shape)
    found: Array = np.frombuffer(data, _TYPES[section.dtype]).reshape(section.shape)
    if sys.byteorder == "little":
        return found
    return found.astype(found.dtype.newbyteorder("="))


def shown(array: Array) -> str:
    """Shape and dtype for a message."""
    return f"{array.dtype.name} {list(array.shape)}"


def is_float(array: Array) -> bool:
    """Whether it is of floating point numbers, the only ones that can be NaN or infinite."""
    return array.dtype.kind == "f"


def nonfinite(array: Array) -> int:
    """How many elements are NaN or infinite."""
    return array.size - int(np.count_nonzero(np.isfinite(array))) if is_float(array) else 0


def counted(lost: int) -> dict[str, int]:
    """The option that says how many were not finite; none when all were."""
    return {"nonfinite": lost} if lost else {}
