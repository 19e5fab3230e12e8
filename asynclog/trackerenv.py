"""Which backends a run is to have, with what the environment and the directory of its process say of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asynclog_proto import trackers

Backends = dict[str, dict[str, Any]]


def chosen(
    backends: Backends | None, environ: Mapping[str, str], directory: str, *, far: bool
) -> tuple[Backends | None, str]:
    """The backends with what the variables say where their options don't, and what to tell of that.

    W&B that is disabled is left out, as if nobody had named it. A daemon that is `far` takes no options.
    """
    if not backends:
        return backends, ""
    told = {name: trackers.with_said(name, options, environ, directory) for name, options in backends.items()}
    if told.get("wandb", {}).get("mode") == "disabled":
        rest = {name: options for name, options in (backends if far else told).items() if name != "wandb"}
        text = "wandb is disabled, by its option mode or WANDB_MODE, and not begun"
        return rest, f"{text}; a run that has it already goes on with it"
    return (backends if far else told), ""
