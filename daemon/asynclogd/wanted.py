"""Which backends a run has: what its init() asked for, what was added since. A fact of its journal, so that the next
daemon knows it too. Each one is delivered everything from the run's beginning, whenever it came.

A later init() may shape anew what a backend is shown. Its other options say where its data are, and stay.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import msgspec

from asynclog_proto import wire
from asynclog_proto.errors import ConfigError
from asynclogd.fanout import choose
from asynclogd.health import describe
from asynclogd.incidents import about
from asynclogd.pipeline import Pipeline
from asynclogd.registry import CLASS

log = logging.getLogger(__name__)

FACT = "backends"
"""The fact of the run: {name: options}."""

SHAPING = ("rate_limit", "system_metrics", "delivery", "fsync")
"""Options that may change while a backend goes on from its cursor."""

Options = Mapping[str, Any]


def of(run: Pipeline) -> Mapping[str, Options]:
    """The run's backends and their options."""
    return {name: options or {} for name, options in run.facts.get(FACT, {}).items()}


def resume(run: Pipeline) -> None:
    """Go on with the backends that a run has; one that can't be had now is told of, and the others go on."""
    for name, options in of(run).items():
        try:
            run.add_backend(name, options, _world(run))
        except Exception as error:  # whatever somebody's class raises when it is made
            told = about("backend-missing", run=run.title, backend=name, cause=error)
            why, trace = (error, None) if isinstance(error, ConfigError) else (describe(error), error)
            log.error("run %s: its backend %s can't be had now: %s", run.run_dir, name, why, exc_info=trace, extra=told)


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
    add(run, {name: options}, _world(run))


def reshape(run: Pipeline, wanted: Mapping[str, Options | None]) -> list[str]:
    """Take the shaping options that `wanted` has anew for backends of the run, as facts. The names of these backends,
    each of which is to be exchanged. Raises ConfigError for wrong ones.
    """
    known = of(run)
    new = {name: {**known[name], **_shaping(options)} for name, options in wanted.items() if name in known}
    changed = {name: options for name, options in new.items() if options != known[name]}
    for name, options in changed.items():
        choose(name, options, run.registry.build)
    if changed:
        wire.pack(dict(changed))
        run.set_fact(FACT, {**known, **changed})
    return list(changed)


def exchange(run: Pipeline, name: str) -> None:
    """Have a backend, whose sink has ended, go on under the options that the run has for it now."""
    run.exchange_backend(name, of(run)[name], _world(run))


def ignored(run: Pipeline, wanted: Mapping[str, Options | None]) -> str:
    """A notice that names the options of `wanted` which have no effect, as the run's backends have others; else ""."""
    known = of(run)
    found = [
        f"{name}.{key}"
        for name, options in wanted.items()
        for key, value in (options or {}).items()
        if not _same(value, _given(run, name, known[name], key))
    ]
    if not found:
        return ""
    have = "have" if len(found) > 1 else "has"
    return (
        f"backends that the run has keep their options: {', '.join(found)} {have} no effect "
        f"({', '.join(SHAPING)} may change, by the first rank of a launch; a second place is a backend of another name)"
    )


def _world(run: Pipeline) -> int:
    return max((session.stream.world_size for session in run.sessions.values()), default=1)


def _shaping(options: Options | None) -> dict[str, Any]:
    return {key: value for key, value in (options or {}).items() if key in SHAPING}


def _same(one: object, other: object) -> bool:
    return msgspec.json.encode(one) == msgspec.json.encode(other)  # lists and tuples are one thing


def _given(run: Pipeline, name: str, options: Options, key: str) -> object:
    return options[key] if key in options else _default(run, name, options, key)


def _default(run: Pipeline, name: str, options: Options, key: str) -> object:
    if key == "subdir":
        return name
    with suppress(ConfigError):
        for field in msgspec.structs.fields(run.registry.find(name, options.get(CLASS)).Config):
            if field.encode_name == key and not field.required:
                made = field.default_factory is not msgspec.NODEFAULT
                return field.default_factory() if made else field.default
    return None
