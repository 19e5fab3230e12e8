"""Tensors in this computer's memory, read: compiled where the wheel has it and torch offers what that needs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from asynclog.compiled import extension

__all__ = ["read", "read_in_python"]


def read_in_python(metrics: dict[str, Any]) -> dict[str, Any]:
    """A copy of one call's metrics with those tensors read that hold one number in this computer's memory.

    What is on a device, complex, of several elements or of a subclass stays as it is. Nothing is waited for.
    """
    tensor = getattr(sys.modules.get("torch"), "Tensor", None)
    return {name: _element(value) if type(value) is tensor else value for name, value in metrics.items()}


def _element(value: Any) -> Any:
    if not value.is_cpu or value.numel() != 1 or value.is_complex():
        return value
    try:
        return value.item()
    except (RuntimeError, NotImplementedError):  # in a vmap, say
        return value


_compiled = extension("_hosttensors")
read: Callable[[dict[str, Any]], dict[str, Any]] = read_in_python if _compiled is None else _compiled.read
