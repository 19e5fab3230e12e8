"""W&B's standard environment variables, as options of the backend `wandb`.

They are those of the process that calls init(): the daemon serves others too, and was started by one of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

BACKEND = "wandb"

VARIABLES = {
    "project": "WANDB_PROJECT",
    "entity": "WANDB_ENTITY",
    "name": "WANDB_NAME",
    "notes": "WANDB_NOTES",
    "tags": "WANDB_TAGS",
    "group": "WANDB_RUN_GROUP",
    "job_type": "WANDB_JOB_TYPE",
    "mode": "WANDB_MODE",
}
"""An option, and the variable that holds where it is not given."""

Backends = dict[str, dict[str, Any]]


def chosen(backends: Backends | None, environ: Mapping[str, str], *, far: bool) -> tuple[Backends | None, str]:
    """The backends with what the variables say of W&B where its options don't, and what to tell of that.

    One that is disabled is left out, as if nobody had named it. A daemon that is `far` takes no options.
    """
    if not backends or BACKEND not in backends:
        return backends, ""
    options = {**_said(environ), **backends[BACKEND]}
    if options.get("mode") == "disabled":
        rest = {name: others for name, others in backends.items() if name != BACKEND}
        return rest, f"{BACKEND} is disabled, by its option mode or WANDB_MODE: nothing is written for it"
    return (backends if far else {**backends, BACKEND: options}), ""


def _said(environ: Mapping[str, str]) -> dict[str, Any]:
    said: dict[str, Any] = {option: environ[name] for option, name in VARIABLES.items() if environ.get(name)}
    if "tags" in said:
        said["tags"] = [tag.strip() for tag in said["tags"].split(",") if tag.strip()]
    return said
