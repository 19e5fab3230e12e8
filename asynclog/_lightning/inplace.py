"""Backends that write where Lightning's own loggers do, and as they do."""

from __future__ import annotations

from typing import Any

from asynclog import inplace


def epoch_name(prefix: str) -> str:
    """What the epoch is called, which comes with metrics of every kind."""
    return f"{prefix}-epoch" if prefix else "epoch"


def in_place(backends: Any, prefix: str) -> dict[str, dict[str, Any]] | None:
    """Each backend's options, with those that put its files into the version's directory."""
    placed = inplace.in_place(backends)
    if placed is not None and "csv" in placed:
        placed["csv"].setdefault("whole", [epoch_name(prefix)])
    return placed
