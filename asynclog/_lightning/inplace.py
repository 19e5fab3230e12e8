"""Backends that write where Lightning's own loggers do, and as they do."""

from __future__ import annotations

from typing import Any

from asynclog.backends import check_backends

_NOT_THE_NODE = {"system/*": 0}
"""A rate of none for the node's own metrics, which Lightning's loggers do not have."""

_IN_PLACE: dict[str, dict[str, Any]] = {
    "tensorboard": {"subdir": ".", "summary_prefix": "", "rate_limit": _NOT_THE_NODE},
    "csv": {"subdir": ".", "hparams": False, "rate_limit": _NOT_THE_NODE},
    "jsonl": {"subdir": "."},
}
"""Options that put files where Lightning's own loggers put theirs, with what those have."""


def epoch_name(prefix: str) -> str:
    """What the epoch is called, which comes with metrics of every kind."""
    return f"{prefix}-epoch" if prefix else "epoch"


def in_place(backends: Any, prefix: str) -> dict[str, dict[str, Any]] | None:
    """Each backend's options, with those that put its files into the version's directory."""
    asked = check_backends(backends)
    if asked is None:
        return None
    ours = {**_IN_PLACE, "csv": {**_IN_PLACE["csv"], "whole": [epoch_name(prefix)]}}
    return {name: _joined(ours.get(name, {}), options) for name, options in asked.items()}


def _joined(ours: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Options with those that were asked for; patterns of rates add to each other."""
    joined = {**ours, **asked}
    if isinstance(asked.get("rate_limit"), dict) and "rate_limit" in ours:
        joined["rate_limit"] = {**ours["rate_limit"], **asked["rate_limit"]}
    return joined
