"""Which Lightning the user's Trainer comes from, `lightning` or `pytorch_lightning`, and this process's place in it."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NamedTuple

from asynclog import ranks

PACKAGES = ("lightning.pytorch", "pytorch_lightning")
_BASES = (*(f"{package}.loggers.logger" for package in PACKAGES), "lightning_fabric.loggers.logger")


class Place(NamedTuple):
    """`distributed`: torch's process group is up, so that the numbers are final."""

    rank: int
    world_size: int
    distributed: bool


def logger_base() -> Any:
    """The class `Logger` of the Lightning that is loaded, else of one that is installed. Raises ImportError."""
    names = sorted(_BASES, key=lambda name: name.rpartition(".loggers")[0] not in sys.modules)
    for name in names:
        try:
            return importlib.import_module(name).Logger
        except ModuleNotFoundError as error:
            if not name.startswith(str(error.name)):
                raise
    raise ImportError("asynclog.lightning needs Lightning: pip install lightning (or pytorch-lightning)")


def callback_base() -> Any:
    """The class `Callback` of the Lightning that the logger is for; `object` for Fabric alone, which has none."""
    package = logger_base().__module__.rpartition(".loggers")[0]
    module = sys.modules.get(f"{package}.callbacks") if package in PACKAGES else None
    return object if module is None else module.Callback


def register(logger: type) -> None:
    """Make every Lightning that is loaded by now take `logger` for one of its own, and for one that writes files:
    `trainer.log_dir` answers only for TensorBoardLogger, CSVLogger and what is registered as one.
    """
    for package in PACKAGES:
        loggers = sys.modules.get(f"{package}.loggers")
        if loggers is not None and hasattr(loggers, "CSVLogger"):
            loggers.CSVLogger.register(logger)


def package_of(thing: object) -> str:
    """The Lightning that an object's class is of, "" for neither."""
    return _package(type(thing))


def package_behind(thing: object) -> str:
    """The Lightning that an object's class is of or derives from, as a user's own Trainer does; "" for neither."""
    return next(filter(None, map(_package, type(thing).__mro__)), "")


def _package(kind: type) -> str:
    return next((package for package in PACKAGES if kind.__module__.startswith(f"{package}.")), "")


def misconfiguration(trainer: Any) -> type[Exception]:
    """The error that a trainer's Lightning raises for what does not fit together; RuntimeError where it has none."""
    module = sys.modules.get(f"{package_behind(trainer)}.utilities.exceptions")
    kind: type[Exception] = getattr(module, "MisconfigurationException", RuntimeError)
    return kind


def global_rank() -> int:
    """This process's rank, as Lightning knows it from its strategy or the environment."""
    from lightning_utilities.core.rank_zero import rank_zero_only

    return int(getattr(rank_zero_only, "rank", 0))


def is_distributed() -> bool:
    """Whether torch's process group is up."""
    distributed = sys.modules["torch"].distributed
    return bool(distributed.is_available() and distributed.is_initialized())


def place() -> Place:
    """This process's rank and the world's size, by the process group where there is one."""
    if is_distributed():
        distributed = sys.modules["torch"].distributed
        return Place(distributed.get_rank(), distributed.get_world_size(), True)
    rank = global_rank()
    try:
        told = ranks.resolve(os.environ)
    except ranks.RankError:  # half of an environment: a launcher of Lightning's own is at work
        return Place(rank, rank + 1, False)
    return Place(rank, told.world_size if told.rank == rank else rank + 1, False)


def blank(kind: Any) -> Any:
    """An object of a class, not initialized: what pickle fills."""
    return kind.__new__(kind)
