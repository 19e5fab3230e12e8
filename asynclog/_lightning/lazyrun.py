"""The run behind a logger: begun at its first use, in a launch that all ranks agree on, and anew in a forked child."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from asynclog._lightning import agreement, frameworks, paths
from asynclog.notices import AsynclogWarning
from asynclog.opening import open_run
from asynclog.reduce import literal
from asynclog_proto.messages import REJOINED

if TYPE_CHECKING:
    from asynclog.run import Run

MOST_EARLY = 1000


class Call(NamedTuple):
    """One call of `log`: numbers or tensors by name, and how they are reduced."""

    metrics: Mapping[str, Any]
    step: int | None
    weight: float | None
    reduce: str


@dataclass(frozen=True)
class Settings:
    """What a run is begun with. `launch` is one for all copies of a logger, `made` when the first was made (s)."""

    backends: Mapping[str, Mapping[str, Any]] | None
    per_rank: tuple[str, ...]
    endpoint: str | None
    mode: str
    strict: bool
    launch: str = field(default_factory=lambda: os.urandom(8).hex() + REJOINED)
    made: float = field(default_factory=time.time)


class LazyRun:
    """`run` is None until `open`. Methods may be called on any rank, at any time."""

    def __init__(self, settings: Settings) -> None:
        self.run: Run | None = None
        self._settings = settings
        self._launch = settings.launch
        self._agreed = False
        self._early: list[Call] = []
        self._reduced: dict[str, str] = {}

    def agree(self, topic: str, version: int | str) -> int | str:
        """Rank 0's version, once ranks can talk; `version` before that. Their launch is agreed on with it."""
        place = frameworks.place()
        if self._agreed or not place.distributed or place.world_size == 1:
            return version
        self._agreed = True
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
        where = paths.run_place(log_dir)
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
        self.run.expect_steps_to_go_back()  # an evaluation counts its own batches
        return self.run

    def too_early(self, call: Call) -> bool:
        """Keep a call for later, where rank 0 has still to say which directory it is; whether it was kept."""
        place = frameworks.place()
        if place.rank == 0 or place.distributed:
            return False
        del self._early[:-MOST_EARLY]
        self._early.append(call)
        return True

    def take_early(self) -> list[Call]:
        """The calls that were kept."""
        early, self._early = self._early, []
        return early

    def log(self, run: Run, metrics: Mapping[str, Any], step: int | None, weight: float | None, reduce: str) -> None:
        """Log to `run`, with the reduction said before where it is not the mean that is the default."""
        if run.world_size > 1 and (reduce != "mean" or self._reduced or self._settings.per_rank):
            self._define(run, metrics, reduce)
        run.log(metrics, step, weight=weight)

    def _define(self, run: Run, names: Iterable[str], reduce: str) -> None:
        for name in names:
            if self._reduced.get(name) == reduce:
                continue
            per_rank = any(fnmatchcase(name, pattern) for pattern in self._settings.per_rank)
            if reduce != "mean" or per_rank or name in self._reduced:
                run.define(literal(name), reduce=reduce, per_rank=per_rank)
            self._reduced[name] = reduce

    def _tell_of_earlier_run(self, log_dir: str) -> None:
        try:
            written = Path(log_dir, "journal.sqlite").stat().st_mtime
        except OSError:
            return
        if written < self._settings.made:
            text = f"{log_dir} has a run already: it goes on, and steps that are logged again replace the old ones"
            warnings.warn(f"asynclog: {text}", AsynclogWarning, stacklevel=5)
