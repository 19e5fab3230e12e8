"""Which rank of how many this process is: by argument, else by what its launcher left in the environment.

The innermost launcher speaks first: torchrun inside a SLURM step, and mpirun inside a SLURM allocation, inherit
SLURM's variables, which then count nodes or agents, not ranks.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from asynclog_proto.errors import ConfigError
from asynclog_proto.limits import MAX_WORLD_SIZE

LAUNCHERS = (
    ("torchrun", "RANK", "WORLD_SIZE"),
    ("openmpi", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
    ("pmi", "PMI_RANK", "PMI_SIZE"),
    ("slurm", "SLURM_PROCID", "SLURM_NTASKS"),
)


class RankError(ConfigError, ValueError):
    """A rank and a world size that do not fit each other; names the variable or argument."""


class Ranks(NamedTuple):
    """`launcher` is one of LAUNCHERS, "" when none is known."""

    rank: int
    world_size: int
    launcher: str = ""


def resolve(environ: Mapping[str, str], rank: int | None = None, world_size: int | None = None) -> Ranks:
    """This process's place. Raises RankError when rank and world size are missing or do not fit."""
    try:
        launcher, rank_name, size_name = _launcher(environ)
    except RankError:
        if rank is None or world_size is None:
            raise
        launcher = rank_name = size_name = ""  # half of an environment, and nobody asks it
    rank_from, size_from = "rank", "world_size"
    if world_size is None and size_name:
        world_size, size_from = _number(environ, size_name), size_name
    elif world_size is None:
        if rank not in {None, 0}:
            raise RankError(f"rank={rank!r} without world_size: say of how many")
        world_size = 1
    if rank is None and rank_name:
        rank, rank_from = _number(environ, rank_name), rank_name
    elif rank is None:
        if world_size != 1:
            raise RankError(f"world_size={world_size!r} without rank: say which one this is")
        rank = 0
    _check(rank, rank_from, world_size, size_from)
    return Ranks(rank, world_size, launcher)


def _launcher(environ: Mapping[str, str]) -> tuple[str, str, str]:
    for launcher, rank_name, size_name in LAUNCHERS:
        if launcher == "slurm" and _is_batch_shell(environ):
            continue
        if launcher == "slurm" and "SLURM_STEP_NUM_TASKS" in environ:
            size_name = "SLURM_STEP_NUM_TASKS"  # noqa: PLW2901 - srun -n may start fewer than the job has
        if rank_name in environ and size_name in environ:
            return launcher, rank_name, size_name
        if launcher == "torchrun" and (rank_name in environ or size_name in environ):
            there, missing = (rank_name, size_name) if rank_name in environ else (size_name, rank_name)
            raise RankError(f"{there} is set but {missing} is not: set both, or pass rank= and world_size=")
    return "", "", ""


def _is_batch_shell(environ: Mapping[str, str]) -> bool:
    """A job's script outside srun is told that it is task 0 of all tasks, and runs once."""
    in_step = any(name in environ for name in ("SLURM_STEP_NUM_TASKS", "SLURM_STEP_ID", "SLURM_STEPID"))
    return "SLURM_JOB_ID" in environ and not in_step and environ.get("SLURM_PROCID") == "0"


def _number(environ: Mapping[str, str], name: str) -> int:
    text = environ[name]
    try:
        return int(text)
    except ValueError:
        raise RankError(f"{name} is a whole number, not {text!r}") from None


def _check(rank: object, rank_from: str, world_size: object, size_from: str) -> None:
    for name, value in ((rank_from, rank), (size_from, world_size)):
        if not isinstance(value, int) or isinstance(value, bool):
            raise RankError(f"{name} is an int, not {value!r}")
    assert isinstance(rank, int)
    assert isinstance(world_size, int)
    if not 1 <= world_size <= MAX_WORLD_SIZE:
        raise RankError(f"{size_from}={world_size} is not in 1..{MAX_WORLD_SIZE}")
    if not 0 <= rank < world_size:
        raise RankError(f"{rank_from}={rank} does not fit {size_from}={world_size}: a rank is in 0..{world_size - 1}")
