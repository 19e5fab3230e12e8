"""The trackers' standard environment variables, and addresses that are relative: what both say depends on the process.

It is the process whose user names a backend that counts, be it a training or a command: the daemon serves others too,
was started by one of them, and has a directory of its own.
"""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any

from asynclog_proto import secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLES: dict[str, dict[str, str]] = {
    "wandb": {
        "project": "WANDB_PROJECT",
        "entity": "WANDB_ENTITY",
        "name": "WANDB_NAME",
        "notes": "WANDB_NOTES",
        "tags": "WANDB_TAGS",
        "group": "WANDB_RUN_GROUP",
        "job_type": "WANDB_JOB_TYPE",
        "mode": "WANDB_MODE",
    },
    "mlflow": {"tracking_uri": "MLFLOW_TRACKING_URI", "experiment": "MLFLOW_EXPERIMENT_NAME"},
    "comet": {"project": "COMET_PROJECT_NAME", "workspace": "COMET_WORKSPACE"},
    "neptune": {"project": "NEPTUNE_PROJECT"},
}
"""By backend: an option, and the variable that holds where it is not given."""

_NAMED_PLACES = frozenset(("databricks", "databricks-uc", "uc"))
"""Addresses of MLflow's that look like relative paths."""


def said(backend: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The options of a backend that the variables say. Of an address with a password `env:NAME`: options are kept in
    files, and the daemon is to have it from its own environment.
    """
    found: dict[str, Any] = {}
    for option, name in VARIABLES.get(backend, {}).items():
        value = environ.get(name, "")
        if value:
            found[option] = f"env:{name}" if option == "tracking_uri" and secrets.has_password(value) else value
    if "tags" in found:
        found["tags"] = [tag.strip() for tag in found["tags"].split(",") if tag.strip()]
    return found


def with_said(backend: str, options: Mapping[str, Any], environ: Mapping[str, str], directory: str) -> dict[str, Any]:
    """The options of a backend with what a process's variables say where they don't, and its directory of what is
    relative.
    """
    return settled(backend, {**said(backend, environ), **options}, directory)


def handed_over(environ: Mapping[str, str]) -> frozenset[str]:
    """The variables whose values go as options, so that a daemon has no use for them: its next run may have others."""
    names = (name for variables in VARIABLES.values() for name in variables.values())
    return frozenset(name for name in names if not secrets.has_password(environ.get(name, "")))


def settled(backend: str, options: Mapping[str, Any], directory: str) -> dict[str, Any]:
    """The options with what is relative in them made absolute, for they are read by a process in another directory."""
    uri = options.get("tracking_uri")
    if backend != "mlflow" or not isinstance(uri, str) or not uri:
        return dict(options)
    return {**options, "tracking_uri": _absolute(uri, directory)}


def _absolute(uri: str, directory: str) -> str:
    scheme, colon, rest = uri.partition(":")
    if scheme == "sqlite" and rest.startswith("///") and rest[3:4] not in ("", "/", ":"):
        return f"sqlite:///{posixpath.join(directory, rest[3:])}"
    if scheme == "file" and not rest.startswith("/"):
        return f"file://{posixpath.normpath(posixpath.join(directory, rest))}"
    if not colon and uri not in _NAMED_PLACES:
        return posixpath.normpath(posixpath.join(directory, uri))
    return uri
