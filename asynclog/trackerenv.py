"""Which backends a run is to have, with what the environment and the directory of its process say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asynclog_proto import trackers
from asynclog_proto.secrets import check_options

Backends = dict[str, dict[str, Any]]


def chosen(
    backends: Backends | None, environ: Mapping[str, str], directory: str | None, *, far: bool
) -> tuple[Backends | None, str]:
    """The backends with what the variables say where their options don't, and what to tell of that. Raises ConfigError.

    W&B that is disabled is left out, as if nobody had named it. A daemon that is `far` takes no options.
    """
    if not backends:
        return backends, ""
    wanted, told = dict(backends), []
    if "wandb" in wanted and {**trackers.said("wandb", environ), **wanted["wandb"]}.get("mode") == "disabled":
        del wanted["wandb"]
        text = "wandb is disabled, by its option mode or WANDB_MODE, and not begun"
        told.append(f"{text}; a run that has it already goes on with it")
    if not far:
        for name, options in wanted.items():
            wanted[name], left_out = trackers.with_said(name, options, environ, directory)
            check_options(name, wanted[name])
            told += [left_out] if left_out else []
    return wanted, ". ".join(told)
