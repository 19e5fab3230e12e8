"""Values that the daemon has reduced, back in the training: what a callback monitors is then alike on all ranks."""

from __future__ import annotations

import difflib
import sys
import warnings
from collections.abc import Collection, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from asynclog._lightning import agreement, frameworks
from asynclog._lightning.call import Plan
from asynclog.notices import AsynclogWarning

MOST_STEPS = 4096


class StepsOfEpochs:
    """At which step names were logged in an epoch: the latest of each, for the latest epochs."""

    def __init__(self) -> None:
        self._steps: dict[tuple[Plan | tuple[str, ...], int], int] = {}

    def note(self, names: Plan | tuple[str, ...], epoch: int, step: int) -> None:
        """`names` were logged together at `step`."""
        self._steps[names, epoch] = step
        if len(self._steps) > MOST_STEPS:
            del self._steps[next(iter(self._steps))]

    def find(self, name: str, epoch: int) -> int:
        """The last step of `name` in `epoch`. Raises KeyError where it was not logged then."""
        found = [step for (names, when), step in self._steps.items() if when == epoch and name in names]
        if not found:
            logged = {each for names, when in self._steps if when == epoch for each in _names(names)}
            raise KeyError(f"{name!r} was not logged in epoch {epoch} by this process.{_did_you_mean(name, logged)}")
        return max(found)


def read_back(trainer: Any, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The reduced values of what callbacks want of `metrics`, just logged, as tensors under their monitored names.

    Waits for them. Raises RuntimeError when one does not come: each rank would decide by a value of its own.
    """
    asked: dict[str, tuple[Future[float], float]] = {}
    for callback in trainer.callbacks:
        for name in getattr(callback, "asynclog_names", ()):
            if (logged := _logged(name, metrics)) is not None:
                logger = next(each for each in trainer.loggers if hasattr(each, "log_calls"))
                asked[name] = asked[logged] = logger.reduced(logged), callback.timeout
    device = trainer.strategy.root_device
    torch = sys.modules["torch"]
    return {name: torch.tensor(_wait(name, *each), device=device) for name, each in asked.items()}


def check_names(trainer: Any, metrics: Collection[str], others: Collection[str]) -> None:
    """Raise where a name that callbacks want is not among `metrics`, which the first validation has logged: it would
    stay each rank's own. On one process, where that is the right value, warn.

    `others` is what else callbacks can monitor.
    """
    for callback in trainer.callbacks:
        if names := getattr(callback, "asynclog_names", ()):
            complain(callback, trainer, " ".join(_missed(name, metrics, others) for name in names))


def complain(callback: Any, trainer: Any, complaint: str) -> None:
    """Raise Lightning's MisconfigurationException where the callback has a complaint, "" for none, on one of the ranks
    at least: on all of them, or those without would wait for the others in a collective. On one process, warn.

    Raises TimeoutError when not all ranks call it.
    """
    complaint = complaint.strip()
    if trainer.world_size == 1:
        if complaint:
            text = f"asynclog: ReducedMetrics would fail on several ranks: {complaint}"
            warnings.warn(text, AsynclogWarning, stacklevel=2)
        return
    text = complaint and f"ReducedMetrics, on rank {trainer.global_rank}: {complaint}"
    if (place := frameworks.place()).distributed:
        text = agreement.complaint("ReducedMetrics", place.rank, place.world_size, text, callback.timeout)
    if text:
        raise frameworks.misconfiguration(trainer)(text)


def _logged(name: str, metrics: Collection[str]) -> str | None:
    """What a monitored name is called among what is logged, if it is there."""
    return next((each for each in (name, f"{name}_epoch") if each in metrics), None)


def _missed(name: str, metrics: Collection[str], others: Collection[str]) -> str:
    if _logged(name, metrics) is not None:
        return ""
    text = f"{name!r} is not among what validation logs: {', '.join(map(repr, sorted(metrics))) or 'nothing'}."
    if name in others:
        return f"{text} It is logged elsewhere, or with logger=False: sync_dist=True reduces such a metric."
    return text + _did_you_mean(name, metrics)


def _did_you_mean(name: str, metrics: Collection[str]) -> str:
    near = sorted(each for each in metrics if each.startswith(name)) or difflib.get_close_matches(name, metrics)
    return f" Did you mean {' or '.join(map(repr, near))}?" if near else ""


def _names(names: Plan | tuple[str, ...]) -> tuple[str, ...]:
    return names.names if isinstance(names, Plan) else names


def _wait(name: str, future: Future[float], timeout: float) -> float:
    try:
        return future.result(timeout)
    except (Exception, FutureTimeoutError) as error:  # NoValueError, a time-out, and what else may become of it
        why = str(error) or f"it has not come within {timeout:g} s"
        raise RuntimeError(f"ReducedMetrics: no reduced value of {name!r}: {why}") from error
