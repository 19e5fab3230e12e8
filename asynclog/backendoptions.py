"""The options of asynclog's own backends, by name: a misspelt one is told by `init()`, before anything is logged.

What they mean, and whether a value is one, is the daemon's business, and so are other packages' backends. Its Config
classes are not imported here, for that takes longer than a whole `init()`; a test holds these names equal to theirs.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from asynclog_proto.errors import ConfigError

DELIVERY = ("flush_interval", "batch_kb", "first_retry", "longest_retry", "points_per_second", "timeout")
"""Those within the option `delivery`."""

COMMON = ("delivery", "names", "rate_limit", "since", "subdir", "system_metrics")
"""Those of every backend."""

OWN = {
    "comet": ("online", "project", "workspace", "credentials_file", "tags", "url"),
    "csv": ("fsync", "hparams", "whole"),
    "jsonl": ("fsync",),
    "mlflow": ("tracking_uri", "experiment", "run_name", "run_id", "parent_run_id", "tags"),
    "neptune": ("project", "experiment", "tags", "online", "credentials_file"),
    "parquet": ("fsync",),
    "swanlab": ("project", "workspace", "group", "tags", "description", "fsync"),
    "tensorboard": ("fsync", "summary_prefix", "filename_suffix"),
    "trackio": ("dir", "project", "group"),
    "wandb": (
        "mode", "host", "credentials_file", "project", "entity", "name", "id", "group", "job_type", "notes", "tags",
        "log_model", "fsync",
    ),
}  # fmt: skip


def check_known(name: str, options: Mapping[str, Any]) -> None:
    """Raises ConfigError for an option that one of our backends does not have; it says which one is near."""
    if name not in OWN:
        return
    known = (*OWN[name], *COMMON)
    elsewhere = {key: f"'delivery': {{{key!r}: ...}}" for key in DELIVERY}
    has = f"{name} has {', '.join(OWN[name])}; every backend has {', '.join(COMMON)}"
    _check(f"backends[{name!r}]", options, {**elsewhere, **{key: repr(key) for key in known}}, known, has)
    delivery = options.get("delivery")
    if isinstance(delivery, Mapping):
        has = f"it has {', '.join(DELIVERY)}"
        _check(f"backends[{name!r}]['delivery']", delivery, {key: repr(key) for key in DELIVERY}, DELIVERY, has)


def _check(where: str, options: Mapping[str, Any], meant: Mapping[str, str], known: Sequence[str], has: str) -> None:
    """`meant` has what to say for each name that may have been meant."""
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(str(key), meant, 1)
            hint = f" (did you mean {meant[near[0]]}?)" if near else ""
            raise ConfigError(f"{where}: there is no option {key!r}{hint}: {has}")
