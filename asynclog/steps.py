"""The step, the weight and the time of a row, as the caller gave them or as they default."""

from __future__ import annotations

import math
import operator
import time
from typing import Any, Protocol

from asynclog.values import Problem
from asynclog_proto.limits import MAX_TIME

MOST = (1 << 63) - 1


class Steps(Protocol):
    """`step` is the last one, `highest` the highest; `backward` counts those that went back."""

    step: int
    highest: int
    backward: int


def next_step(given: Any, state: Steps, problems: list[Problem]) -> int:
    """The step of this call: `given` where it is an integer, else one more than the last."""
    counter = min(state.step + 1, MOST)
    if given is None:
        return counter
    step = _as_int(given)
    if step is None or not -MOST - 1 <= step <= MOST:
        text = f"step={given!r} is not a whole number of 64 bits: the counter's {counter} is used"
        error = ValueError if isinstance(given, (int, float)) and not isinstance(given, bool) else TypeError
        problems.append(Problem("step", "", text, lost=0, error=error))
        return counter
    return step


def cut(given: Any) -> Any:
    """SummaryWriter's step: 0 for None, and what is no whole number is cut to one, where it can be."""
    if given is None:
        return 0
    try:
        return int(given)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return given  # `log` says what is wrong with it


def advance(step: int, state: Steps) -> None:
    """`step` was logged."""
    state.step = step
    if step < state.highest:
        state.backward += 1
    else:
        state.highest = step


def backward_problem(step: int, state: Steps) -> Problem | None:
    """A step below an earlier one: kept, and told once."""
    if step >= state.highest:
        return None
    text = f"step {step} comes after step {state.highest}: it is kept, as a late value of its step"
    return Problem("backward", "", text, lost=0, is_error=False)


def check_weight(given: Any, problems: list[Problem]) -> float:
    """The weight, a finite float64 above 0; 1.0 by default and in place of anything else."""
    if given is None:
        return 1.0
    try:
        weight = float(given)
    except (TypeError, ValueError, OverflowError):
        weight = math.nan
    if math.isfinite(weight) and weight > 0:
        return weight
    text = f"weight={given!r} is not a finite number above 0: 1.0 is used"
    problems.append(Problem("weight", "", text, lost=0))
    return 1.0


def check_time(given: Any, problems: list[Problem]) -> float:
    """The time in s since the epoch, from 1970 to 9999; now by default and in place of anything else."""
    now = time.time()
    if given is None:
        return now
    try:
        at = float(given)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        at = math.nan
    if 0 <= at <= MAX_TIME:  # what is beyond was given in ms
        return at
    text = f"the time {given!r} is not in seconds since 1970 (as time.time() is): this moment is used"
    problems.append(Problem("time", "", text, lost=0))
    return now


def _as_int(given: Any) -> int | None:
    if isinstance(given, bool) or type(given).__name__ in {"bool", "bool_"}:
        return None
    if isinstance(given, float):
        return int(given) if given.is_integer() else None
    device = getattr(given, "device", None)
    if getattr(device, "type", "cpu") != "cpu":
        return None  # reading it would wait for the device
    try:
        return operator.index(given)
    except (TypeError, ValueError, RuntimeError):
        return None
