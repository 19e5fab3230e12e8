"""The run behind a logger: begun at its first use, in a launch that all ranks agree on, and anew in a forked child."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asynclog._lightning import agreement, frameworks
from asynclog._lightning.call import Call, Plan
from asynclog._lightning.lanes import STEP, Lane
from asynclog.inplace import run_place
from asynclog.notices import AsynclogWarning
from asynclog.opening import open_run
from asynclog.reduce import literal
from asynclog_proto.messages import REJOINED

if TYPE_CHECKING:
    from asynclog.run import Run

MOST_EARLY = 1000

_DEFAULT = ("mean", STEP)


@dataclass(frozen=True)
class Settings:
    """What a run is begun with. `epoch` is a name that comes in rows of every lane. `launch` is one for all copies of a
    logger, `made` when the first was made (s).
    """

    backends: Mapping[str, Mapping[str, Any]] | None
    per_rank: tuple[str, ...]
    endpoint: str | None
    mode: str
    strict: bool
    epoch: str
    launch: str = field(default_factory=lambda: os.urandom(8).hex() + REJOINED)
    made: float = field(default_factory=time.time)


class LazyRun:
    """`run` is None until `open`. Methods may be called on any rank, at any time."""

    def __init__(self, settings: Settings) -> None:
        self.run: Run | None = None
        self._settings = settings
        self._launch = settings.launch
        self._agreed = False
        self.early: list[Call] = []
        """calls that were kept until it is known where they go"""
        self._defined: dict[str, tuple[str, Lane]] = {}
        self._said: dict[tuple[Lane, Plan | tuple[str, ...]], Mapping[str, str]] = {}
        """calls of which nothing new is to be said"""
        self._last: Plan | None = None
        """the plan of the last call, of which nothing new is to be said either"""

    @property
    def may_agree(self) -> bool:
        """Whether ranks can talk by now and have not agreed yet: a script may log before its training begins."""
        return not self._agreed and frameworks.is_distributed() and frameworks.place().world_size > 1

    @property
    def is_apart(self) -> bool:
        """Whether the run was begun by this rank alone, when it knew of no other or of no launch of rank 0's."""
        if self.run is None or not self.may_agree:
            return False
        return self.run.rank > 0 or self.run.world_size != frameworks.place().world_size

    def agree(self, topic: str, version: int | str) -> int | str:
        """Rank 0's version, once ranks can talk; `version` before that. Their launch is agreed on with it."""
        if not self.may_agree:
            return version
        self._agreed = True
        place = frameworks.place()
        try:
            word = agreement.agree(topic, place.rank, {"launch": self._launch, "version": version})
        except TimeoutError as error:
            text = f"{error}; rank {place.rank} logs to version {version} as a run of its own"
            warnings.warn(f"asynclog: {text}", AsynclogWarning, stacklevel=4)
            return version
        self._launch = word["launch"]
        agreed: int | str = word["version"]
        return agreed

    def open(self, log_dir: str) -> Run:
        """Begin the run whose directory is `log_dir`."""
        place, settings = frameworks.place(), self._settings
        inside_loader = sys.modules["torch"].utils.data.get_worker_info() is not None
        where = run_place(log_dir)
        if place.rank == 0 and not inside_loader:
            self._tell_of_earlier_run(log_dir)
        self.run = open_run(
            where.project,
            where.name,
            None,
            where.dir,
            settings.backends,
            place.rank,
            place.world_size,
            settings.endpoint,
            "disabled" if inside_loader else settings.mode,
            strict=settings.strict,
            launch_id=self._launch,
        )
        self._defined, self._said, self._last = {}, {}, None
        self.run.expect_steps_to_go_back()  # an evaluation counts its own batches
        return self.run

    def too_early(self, call: Call) -> bool:
        """Keep a call for later, where rank 0 has still to say which directory it is; whether it was kept."""
        place = frameworks.place()
        if place.rank == 0 or place.distributed:
            return False
        self.early.append(call)
        del self.early[:-MOST_EARLY]
        return True

    def log_early(self, run: Run) -> None:
        """Log the calls that were kept."""
        early, self.early = self.early, []
        for call in early:
            self.log(run, call)

    def log(self, run: Run, call: Call) -> None:
        """Log to `run`, with how it is reduced and in which lane said before, where that is not what it is anyway."""
        if call.plan is None or call.plan is not self._last:
            self._say(run, call)
            self._last = call.plan
        run.log(call.metrics, call.step, weight=call.weight)

    def _say(self, run: Run, call: Call) -> None:
        lane = call.lane if run.world_size > 1 or call.lane.own_steps else STEP
        if run.world_size > 1 or lane != STEP or self._defined:
            kind = lane, call.plan or tuple(call.metrics)
            if self._said.get(kind) != call.reduce:
                self._define(run, call, lane)
                self._said[kind] = call.reduce

    def _define(self, run: Run, call: Call, lane: Lane) -> None:
        for name in call.metrics:
            reduce = call.reduce.get(name, "mean") if run.world_size > 1 else "mean"
            before = self._defined.get(name)
            wanted = reduce, self._lane(name, before, lane)
            if before == wanted:
                continue
            per_rank = any(fnmatchcase(name, pattern) for pattern in self._settings.per_rank)
            if wanted != _DEFAULT or per_rank or before is not None:
                called, own_steps = wanted[1]
                run.define(literal(name), reduce=reduce, per_rank=per_rank, lane=called, own_steps=own_steps)
            self._defined[name] = wanted
            if before is not None or len(self._said) >= MOST_EARLY:
                self._said.clear()

    def _lane(self, name: str, before: tuple[str, Lane] | None, lane: Lane) -> Lane:
        """A name that comes in several lanes stays in its first, or in the training step's once it was there."""
        if name == self._settings.epoch:
            return STEP
        return lane if before is None or lane == STEP else before[1]

    def _tell_of_earlier_run(self, log_dir: str) -> None:
        if self._is_of_before(Path(log_dir, "journal.sqlite")):
            text = f"{log_dir} has a run already: it goes on, and new steps replace all from the first of them on"
        elif self._writes_csv_there and self._is_of_before(Path(log_dir, "metrics.csv")):
            text = f"{log_dir} has another logger's metrics.csv: it is kept as set-aside.metrics.csv"
        else:
            return
        warnings.warn(f"asynclog: {text}", AsynclogWarning, stacklevel=5)

    @property
    def _writes_csv_there(self) -> bool:
        return (self._settings.backends or {}).get("csv", {}).get("subdir") == "."

    def _is_of_before(self, file: Path) -> bool:
        try:
            return file.stat().st_mtime < self._settings.made
        except OSError:
            return False
