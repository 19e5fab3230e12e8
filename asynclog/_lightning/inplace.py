"""Backends that write where Lightning's own loggers do, and as they do."""

from __future__ import annotations

from typing import Any

from asynclog.backends import check_backends

_IN_PLACE: dict[str, dict[str, Any]] = {
    "tensorboard": {"subdir": ".", "summary_prefix": ""},
    "csv": {"subdir": ".", "hparams": False},
    "jsonl": {"subdir": "."},
}
"""Options that put files where Lightning's own loggers put theirs."""


def epoch_name(prefix: str) -> str:
    """What the epoch is called, which comes with metrics of every kind."""
    return f"{prefix}-epoch" if prefix else "epoch"


def in_place(backends: Any, prefix: str) -> dict[str, dict[str, Any]] | None:
    """Each backend's options, with those that put its files into the version's directory."""
    asked = check_backends(backends)
    if asked is None:
        return None
    whole = {"csv": {"whole": [epoch_name(prefix)]}}
    return {name: {**_IN_PLACE.get(name, {}), **whole.get(name, {}), **options} for name, options in asked.items()}
