"""Which backends a run has: what its init() asked for, what was added since. A fact of its journal, so that the next
daemon knows it too. Each one is delivered everything from the run's beginning, whenever it came.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from asynclog_proto import wire
from asynclog_proto.errors import ConfigError
from asynclogd.pipeline import Pipeline

log = logging.getLogger(__name__)

FACT = "backends"
"""The fact of the run: {name: options}."""

Options = Mapping[str, Any]


def of(run: Pipeline) -> Mapping[str, Options]:
    """The run's backends and their options."""
    return {name: options or {} for name, options in run.facts.get(FACT, {}).items()}


def resume(run: Pipeline) -> None:
    """Go on with the backends that a run has; one that can't be had now is told of, and the others go on."""
    for name, options in of(run).items():
        try:
            run.add_backend(name, options, 1)
        except ConfigError as error:
            log.error("run %s: its backend %s can't be had now: %s", run.run_dir, name, error)


def add(run: Pipeline, wanted: Mapping[str, Options | None], world: int) -> None:
    """Give a run the backends that it lacks, of a world of `world` ranks. Raises ConfigError."""
    known = of(run)
    if missing := {name: options or {} for name, options in wanted.items() if name not in known}:
        wire.pack(dict(missing))  # a TOML date, say, can't be journaled: that is the caller's error
        for name, options in missing.items():
            run.add_backend(name, options, world)
        run.set_fact(FACT, {**known, **missing})


def add_one(run: Pipeline, name: str, options: Options) -> None:
    """Give a run one more backend, or find that it has the very same. Raises ConfigError, for another one of that name
    too.
    """
    if name in (known := of(run)) and known[name] != options:
        raise ConfigError(f"the run has a backend {name!r} already, with other options: give this one another name")
    add(run, {name: options}, max((session.stream.world_size for session in run.sessions.values()), default=1))
