"""Records' bodies as a rank lays them down, and what becomes of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from asynclog_proto.media import Section
from asynclogd.media.encode import encode
from asynclogd.media.forms import Encoded, UnfitError

Part = Any
"""An array of NumPy or PyTorch, a text or bytes."""


def section(role: str, part: Part) -> tuple[Section, bytes]:
    if isinstance(part, str):
        data = part.encode()
        return Section(role, "text", (len(data),)), data
    if isinstance(part, bytes):
        return Section(role, "bytes", (len(part),)), part
    if not isinstance(part, np.ndarray):  # a tensor; its bfloat16 is unknown to NumPy
        name = str(part.dtype).removeprefix("torch.")
        raw = part.contiguous().reshape(-1).view(part.new_zeros(0).byte().dtype) if part.numel() else part
        return Section(role, name, tuple(part.shape)), raw.numpy().tobytes()
    return Section(role, part.dtype.name, part.shape), np.ascontiguousarray(part).tobytes()


def encoded(kind: str, options: dict[str, Any] | None = None, **parts: Part) -> Encoded:
    made = [section(role, part) for role, part in parts.items()]
    body = b"".join(data for _, data in made)
    return encode(kind, [about for about, _ in made], options or {}, memoryview(body))


def refusal(kind: str, options: dict[str, Any] | None = None, **parts: Part) -> str:
    """What is said of an item that can't be encoded."""
    with pytest.raises(UnfitError) as raised:
        encoded(kind, options, **parts)
    return str(raised.value)
