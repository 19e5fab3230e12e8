"""Metrics as Lightning and its users give them, made into what `Run.log` takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asynclog import hosttensors
from asynclog.values import FLOATS


def read(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """A copy with those tensors read that are in this computer's memory: no device is waited for."""
    return hosttensors.read(metrics if isinstance(metrics, dict) else dict(metrics))


def are_single(numbers: Mapping[str, Any]) -> bool:
    """Whether each tensor that is still among `numbers` has one element."""
    values = numbers.values()
    if FLOATS.issuperset(map(type, values)):
        return True
    return all(value.numel() == 1 for value in values if hasattr(value, "numel"))
