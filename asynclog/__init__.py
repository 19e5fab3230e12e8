"""asynclog: what a training process imports.

    import asynclog
    with asynclog.init(project="digits") as run:
        run.log({"loss": 0.5})

The functions below, but for `init`, speak to the current run: the one that was begun last.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

from asynclog.notices import AsynclogWarning
from asynclog.process import RUNS
from asynclog_proto._version import __version__
from asynclog_proto.errors import NoValueError

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    from asynclog.ledger import Ledger
    from asynclog.media import (
        Audio,
        Embedding,
        Figure,
        File,
        Graph,
        Histogram,
        Html,
        Image,
        Images,
        Layout,
        Mesh,
        PRCurve,
        Table,
        Text,
        Video,
    )
    from asynclog.run import Run, Stats
    from asynclog.summary_writer import SummaryWriter

__all__ = [
    "AsynclogWarning", "Audio", "Embedding", "Figure", "File", "Graph", "Histogram", "Html", "Image", "Images",
    "Layout", "Ledger", "Mesh", "NoValueError", "PRCurve", "Run", "Stats", "SummaryWriter", "Table", "Text", "Video",
    "__version__", "current_run", "define", "finish", "flush", "init", "log", "params", "summary",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    # `import asynclog` stays light: the classes come when somebody asks for them, at the latest with init().
    found = globals()[name] = _class(name)  # asked for in a training loop, so not twice: 35 us when caches are cold
    return found


def _class(name: str) -> Any:
    if name == "Ledger":
        from asynclog.ledger import Ledger

        return Ledger
    if name in {"Run", "Stats"}:
        from asynclog import run

        return getattr(run, name)
    if name == "SummaryWriter":
        from asynclog.summary_writer import SummaryWriter

        return SummaryWriter
    if name in __all__:
        from asynclog import media

        return getattr(media, name)
    raise AttributeError(f"module 'asynclog' has no attribute {name!r}")


def init(
    project: str,
    name: str | None = None,
    config: Any = None,
    dir: str | os.PathLike[str] = "asynclog",  # noqa: A002 - the word that every peer uses
    backends: Iterable[object] | Mapping[str, object] | None = None,
    rank: int | None = None,
    world_size: int | None = None,
    endpoint: str | None = None,
    mode: str = "auto",
    strict: bool = False,
    resume: str | None = None,
) -> Run:
    """Begin a run, in milliseconds: the daemon is looked for, and spawned where there is none, meanwhile.

    Args:
        project: Directory of the run inside `dir`; no slash.
        name: The run's name, the same on all ranks: $ASYNCLOG_NAME, else made of the launch's time.
        config: Hyperparameters, as for `Run.params`.
        dir: Directory of all projects; $ASYNCLOG_DIR in place of the default.
        backends: Names, or names with options, or instances of your own (docs/backends.md); None takes the daemon's
            choice (TensorBoard and CSV).
        rank: Of this process; with `world_size` from torchrun, MPI or SLURM, else 0 of 1.
        world_size: How many ranks log to this run.
        endpoint: A daemon's address, `ipc://` and an absolute path, or `tcp://HOST:PORT` (docs/security.md);
            $ASYNCLOG_ENDPOINT, else this node's own.
        mode: "auto", "offline" (everything goes to the spool, for `asynclog sync`) or "disabled";
            $ASYNCLOG_MODE in place of "auto".
        strict: Bad input to `log` raises instead of warning.
        resume: The name of a run of `project` that is there, in place of `name`: its series go on. Steps that are
            logged again replace those of before in every backend (docs/backends.md), and `log` without a step counts
            on after the run's last one, which is waited for (30 s at most). Backends are the run's, and those of
            `backends` that it did not have begin at its beginning.

    Raises:
        ConfigError: A setting, an environment variable, a name or a backend's option is wrong (RankError: rank or world
            size), or there is no run to resume.
        ValueError: A backend that is not there.
        TypeError: `backends` or `config` of a wrong shape.
        UnsafePathError: The runtime directory is not private.
    """
    from asynclog.opening import open_run

    return open_run(
        project, name, config, dir, backends, rank, world_size, endpoint, mode, strict=strict, resume=resume
    )


def current_run() -> Run | None:
    """The run that was begun last in this process, finished or not; None before any."""
    return RUNS.current


def log(
    metrics: Mapping[str, Any], step: int | None = None, *, reduce: Any = None, weight: float | None = None
) -> None:
    """`Run.log` of the current run."""
    if (run := _current("log")) is not None:
        run.log(metrics, step, reduce=reduce, weight=weight)


def define(pattern: str, *, reduce: Any, per_rank: bool = False, lane: str = "", own_steps: bool = False) -> None:
    """`Run.define` of the current run."""
    if (run := _current("define")) is not None:
        run.define(pattern, reduce=reduce, per_rank=per_rank, lane=lane, own_steps=own_steps)


def params(values: Any) -> None:
    """`Run.params` of the current run."""
    if (run := _current("params")) is not None:
        run.params(values)


def summary(values: Any = None, /, **more: Any) -> None:
    """`Run.summary` of the current run."""
    if (run := _current("summary")) is not None:
        run.summary(values, **more)


def flush(timeout: float = 30.0) -> bool:
    """`Run.flush` of the current run; True when there is none."""
    run = _current("flush")
    return True if run is None else run.flush(timeout)


def finish(status: str = "success", timeout: float = 30.0) -> Ledger | None:
    """`Run.finish` of the current run; None when there is none."""
    run = _current("finish")
    return None if run is None else run.finish(status, timeout)


def _current(what: str) -> Run | None:
    if RUNS.current is None:
        text = f"asynclog: {what}() without a run has no effect: call asynclog.init() first"
        warnings.warn(text, AsynclogWarning, stacklevel=3)
    return RUNS.current
