"""What all ranks that were started together agree on without talking: a launch id and the run's default name."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from asynclog.ranks import LAUNCHERS, Ranks


class Parent(NamedTuple):
    """The process that started the ranks of a node: its id, and its start in ticks and in seconds since 1970."""

    pid: int
    ticks: int
    started: float


class Launch(NamedTuple):
    """`id` is new after a restart; `name` is not: the restarted ranks continue the run."""

    id: str
    name: str


def identify(environ: Mapping[str, str], ranks: Ranks, incarnation: str) -> Launch:
    """The launch that this process belongs to; a single process is one of its own."""
    if ranks.launcher == "torchrun" and "TORCHELASTIC_RUN_ID" in environ:
        return _torchrun(environ)
    if ranks.launcher == "slurm" and "SLURM_JOB_ID" in environ:
        return _slurm(environ)
    if ranks.world_size == 1:
        return Launch(incarnation, _named(time.time(), incarnation))
    if space := environ.get("PMIX_NAMESPACE"):
        return Launch(_digest("pmix", space), f"mpi-{_digest('pmix', space)[:8]}")
    parent = _launching_parent(ranks.launcher)
    mark = _digest("parent", str(parent.pid), str(parent.ticks))
    return Launch(mark, _named(parent.started, mark))


def is_restart(environ: Mapping[str, str]) -> bool:
    """Whether torchrun or SLURM says that this is not the job's first attempt."""
    return any(environ.get(name, "0") != "0" for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT"))


def process_start() -> float:
    """When this process began, s since the epoch."""
    return _describe(os.getpid()).started


def _torchrun(environ: Mapping[str, str]) -> Launch:
    run_id = environ["TORCHELASTIC_RUN_ID"]
    master = [environ.get(name, "") for name in ("MASTER_ADDR", "MASTER_PORT")]
    one_node = environ.get("LOCAL_WORLD_SIZE") == environ.get("WORLD_SIZE")
    if one_node:
        parent = _launching_parent("torchrun")
        mark = _digest("torchrun", run_id, str(parent.pid), str(parent.ticks))
        name = _named(parent.started, mark)
    else:
        # The agents of several nodes have nothing in common but this. A restart may draw a new port, so a run id
        # of the user's own names the run alone; the default "none" needs the port beside it.
        mark = _digest("torchrun", run_id, *([] if run_id not in {"", "none"} else master))
        name = f"torchrun-{mark[:8]}"
    return Launch(_digest(mark, *master, environ.get("TORCHELASTIC_RESTART_COUNT", "0")), name)


def _slurm(environ: Mapping[str, str]) -> Launch:
    job, step = environ["SLURM_JOB_ID"], environ.get("SLURM_STEP_ID", environ.get("SLURM_STEPID", "0"))
    restart = environ.get("SLURM_RESTART_COUNT", "0")
    safe = "".join(char for char in f"{job}-{step}" if char.isalnum() or char in "-_")
    return Launch(_digest("slurm", job, step, restart), f"slurm-{safe}")


def _named(seconds: float, mark: str) -> str:
    return time.strftime("%Y%m%d-%H%M%S", time.localtime(seconds)) + f"-{mark[:4]}"


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(errors="surrogateescape"), digest_size=8).hexdigest()


def _launching_parent(launcher: str) -> Parent:
    """The nearest ancestor that is not itself inside a rank: wrappers such as `bash -c` or numactl are."""
    rank_name = next((name for known, name, _ in LAUNCHERS if known == launcher), "")
    pid = os.getppid()
    for _ in range(8):
        above = _parent_of(pid)
        if not rank_name or not above or f"\0{rank_name}=" not in _environ_of(pid):
            break
        pid = above
    return _describe(pid)


def _environ_of(pid: int) -> str:
    return "\0" + _read(f"/proc/{pid}/environ")


def _parent_of(pid: int) -> int:
    fields = _stat(pid)
    return int(fields[1]) if fields else 0


def _describe(pid: int) -> Parent:
    fields = _stat(pid)
    boot = next((line.split()[1] for line in _read("/proc/stat").splitlines() if line.startswith("btime ")), "")
    if fields and boot:
        ticks = int(fields[19])
        return Parent(pid, ticks, int(boot) + ticks / os.sysconf("SC_CLK_TCK"))
    import psutil

    try:
        started = psutil.Process(pid).create_time()
    except psutil.Error:
        started = 0.0
    return Parent(pid, int(started * 100), started)


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat from the state on; the command's name ahead of them may hold anything."""
    return _read(f"/proc/{pid}/stat").rpartition(")")[2].split()


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return ""
