"""A run that lives inside another framework's loop, which nothing of ours may break.

An exception on one rank would leave the others in a collective, so what goes wrong here is told, once per cause, as an
AsynclogWarning at the place where the callback or tracker was made; where warnings are errors it goes to stderr.
"""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

import asynclog
from asynclog.backends import check_backends
from asynclog.notices import Notices
from asynclog.settings import check_mode
from asynclog_proto import places
from asynclog_proto.errors import ConfigError

if TYPE_CHECKING:
    from asynclog.run import Run

Result = TypeVar("Result")
OPTIONS = frozenset(("config", "dir", "backends", "endpoint", "mode", "strict"))
"""What a host hands on to `asynclog.init`; ranks are the framework's to say."""


class Host(Protocol):
    """Whoever has guarded methods."""

    notices: Notices


def guarded(method: Callable[..., Result]) -> Callable[..., Result | None]:
    """`method`, which tells what it would raise and returns None instead."""

    @functools.wraps(method)
    def call(self: Host, *args: Any, **kwargs: Any) -> Result | None:
        try:
            return method(self, *args, **kwargs)
        except asynclog.AsynclogWarning as warning:  # the filter makes errors of warnings
            _tell(self.notices, str(warning).removeprefix("asynclog: "))
        except Exception as error:
            _tell(self.notices, f"{method.__name__}() failed: {type(error).__name__}: {error}")
        return None

    return call


def check_options(project: str, name: str | None, options: Mapping[str, Any]) -> None:
    """Raise at once what `asynclog.init` would raise much later.

    Raises TypeError for an option that there is not, ConfigError or ValueError for a wrong value.
    """
    unknown = sorted(options.keys() - OPTIONS)
    if unknown:
        raise TypeError(f"there is no option {unknown[0]!r}: those of asynclog.init are {', '.join(sorted(OPTIONS))}")
    places.check_component("project", project)
    if name is not None:
        places.check_component("name", name)
    check_backends(options.get("backends"))
    check_mode("mode", options.get("mode", "auto"))


def begin(
    notices: Notices, project: str, name: str | None, rank: int, world_size: int, *, goes_on: bool, **options: Any
) -> Run:
    """`asynclog.init`, with its warnings told by `notices`; that the run exists is none when it `goes_on`."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = asynclog.init(project, name, rank=rank, world_size=world_size, **options)
    for warning in caught:
        text = str(warning.message).removeprefix("asynclog: ")
        if not (goes_on and " exists: it goes on" in text):
            _tell(notices, text)
    return run


def log(run: Run, values: Mapping[str, Any], step: int | None, **how: Any) -> None:
    """`run.log` for values that may hold texts, which are kept as final values; tensors are not looked at."""
    texts = {name: value for name, value in values.items() if isinstance(value, str)}
    run.log({name: value for name, value in values.items() if name not in texts} if texts else values, step, **how)
    if texts:
        run.summary(texts)


def as_name(text: str | None) -> str | None:
    """A title that some framework's user gave, as a run may be named; None where it can't be."""
    try:
        return places.check_component("name", (text or "").replace("/", "-"))
    except ConfigError:
        return None


def _tell(notices: Notices, text: str) -> None:
    notices.add(text, text)
    notices.say_quietly()
