"""Values that the daemon has reduced, back in the training: what a callback monitors is then alike on all ranks."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from asynclog._lightning.call import Plan

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
            raise KeyError(f"{name!r} was not logged in epoch {epoch} by this process")
        return max(found)


def read_back(trainer: Any, metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The reduced values of what callbacks want of `metrics`, just logged, as tensors under their monitored names.

    Waits for them. Raises RuntimeError when one does not come: each rank would decide by a value of its own.
    """
    asked: dict[str, tuple[Future[float], float]] = {}
    for callback in trainer.callbacks:
        for name in getattr(callback, "asynclog_names", ()):
            logged = name if name in metrics else f"{name}_epoch"
            if logged in metrics:
                logger = next(each for each in trainer.loggers if hasattr(each, "log_calls"))
                asked[name] = asked[logged] = logger.reduced(logged), callback.timeout
    device = trainer.strategy.root_device
    torch = sys.modules["torch"]
    return {name: torch.tensor(_wait(name, *each), device=device) for name, each in asked.items()}


def _wait(name: str, future: Future[float], timeout: float) -> float:
    try:
        return future.result(timeout)
    except (Exception, FutureTimeoutError) as error:  # NoValueError, a time-out, and what else may become of it
        why = str(error) or f"it has not come within {timeout:g} s"
        raise RuntimeError(f"ReducedMetrics: no reduced value of {name!r}: {why}") from error
