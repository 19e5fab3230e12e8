"""A run in a directory that is given, whose files lie in it as those of SummaryWriter and Lightning's loggers do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, NamedTuple

from asynclog.backends import check_backends
from asynclog_proto.errors import ConfigError

_IN_PLACE: dict[str, dict[str, Any]] = {
    "tensorboard": {"subdir": ".", "summary_prefix": "", "system_metrics": False},
    "csv": {"subdir": ".", "hparams": False, "system_metrics": False},
    "jsonl": {"subdir": "."},
}
"""Options that put files into the run's directory itself, with what those writers' files have: nothing of the host."""


class RunPlace(NamedTuple):
    """A run's directory in asynclog's terms: <dir>/<project>/<name>."""

    dir: str
    project: str
    name: str


def run_place(log_dir: str) -> RunPlace:
    """The run whose directory is `log_dir`. Raises ConfigError where that is no directory within another."""
    path = Path(os.path.abspath(log_dir))  # noqa: PTH100 - a link stays a link, for the daemon to follow
    if not path.parent.name:
        raise ConfigError(f"log_dir {str(path)!r}: a run is two directories deep at least, <dir>/<project>/<run>")
    return RunPlace(str(path.parent.parent), path.parent.name, path.name)


def in_place(backends: Any) -> dict[str, dict[str, Any]] | None:
    """Each backend's options, with those that put its files into the run's directory itself."""
    asked = check_backends(backends)
    if asked is None:
        return None
    return {name: {**_IN_PLACE.get(name, {}), **options} for name, options in asked.items()}
