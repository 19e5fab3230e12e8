"""The trackers' standard environment variables, as options of their backends.

They are those of the process that calls init(): the daemon serves others too, and was started by one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

VARIABLES = {
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

Backends = dict[str, dict[str, Any]]


def chosen(backends: Backends | None, environ: Mapping[str, str], *, far: bool) -> tuple[Backends | None, str]:
    """The backends with what the variables say where their options don't, and what to tell of that.

    W&B that is disabled is left out, as if nobody had named it. A daemon that is `far` takes no options.
    """
    if not backends:
        return backends, ""
    told = {name: {**_said(name, environ), **options} for name, options in backends.items()}
    if told.get("wandb", {}).get("mode") == "disabled":
        rest = {name: options for name, options in (backends if far else told).items() if name != "wandb"}
        return rest, "wandb is disabled, by its option mode or WANDB_MODE: nothing is written for it"
    return (backends if far else told), ""


def handed_over(environ: Mapping[str, str]) -> frozenset[str]:
    """The variables whose values go as options, so that a daemon has no use for them: its next run may have others."""
    names = (name for variables in VARIABLES.values() for name in variables.values())
    return frozenset(name for name in names if not _is_secret(environ.get(name, "")))


def _said(backend: str, environ: Mapping[str, str]) -> dict[str, Any]:
    names = VARIABLES.get(backend, {}).items()
    said: dict[str, Any] = {option: environ[name] for option, name in names if environ.get(name)}
    if "tags" in said:
        said["tags"] = [tag.strip() for tag in said["tags"].split(",") if tag.strip()]
    return {option: value for option, value in said.items() if not _is_secret(value)}


def _is_secret(value: Any) -> bool:
    """An address with a password. Options are kept in the journal; such a one stays in the daemon's environment."""
    return isinstance(value, str) and "://" in value and "@" in value
