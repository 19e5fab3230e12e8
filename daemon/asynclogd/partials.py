"""The mergeable partial of each reduction: what is kept a cell, how a value enters, what comes out.

A cell is one metric at one step. A partial is some NumPy fields of equal shape; values enter for a whole table of
cells at once, one rank at a time, and in any order of ranks with the same result (means and sums to about 1e-16,
the others exactly). NaN spreads into whatever it enters, an infinity stays one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Cells = dict[str, NDArray[Any]]
Values = NDArray[np.float64]

NO_RANK = np.iinfo(np.int32).max


@dataclass(frozen=True, slots=True)
class Entering:
    """One rank's values (k, n); their times (k, 1), and weights (k, 1) or None when each is 1."""

    rank: int
    values: Values
    times: Values
    weights: Values | None


@dataclass(frozen=True, slots=True)
class Partial:
    """A reduction's fields (name to dtype and the empty partial's value) and its two functions.

    `add` changes the cells in place, after the cells' count `logged` went up by one. `holder` names the field of the
    rank that held the value.
    """

    fields: dict[str, tuple[type, float]]
    add: Callable[[Cells, Entering], None]
    value: Callable[[Cells], Values]
    holder: str | None = None


def _add_exactly(total: Values, error: Values, values: Values) -> None:
    """Knuth's TwoSum: what rounding takes from `total` is gathered in `error`."""
    after = total + values
    taken = after - total
    error += (total - (after - taken)) + (values - taken)
    total[...] = after


def _exact(total: Values, error: Values) -> Values:
    # Once a sum is infinite its error is NaN (inf - inf), and says nothing any more.
    return np.where(np.isfinite(error), total + error, total)


def _add_mean(cells: Cells, entering: Entering) -> None:
    values = entering.values
    if entering.weights is None:
        cells["weight"] += 1.0
    else:
        cells["weight"] += entering.weights
        values = values * entering.weights
    _add_exactly(cells["mean_total"], cells["mean_error"], values)


def _mean(cells: Cells) -> Values:
    return _exact(cells["mean_total"], cells["mean_error"]) / cells["weight"]


def _add_sum(cells: Cells, entering: Entering) -> None:
    _add_exactly(cells["sum_total"], cells["sum_error"], entering.values)


def _sum(cells: Cells) -> Values:
    return _exact(cells["sum_total"], cells["sum_error"])


def _extreme(field: str, better: Any, choose: Any) -> Callable[[Cells, Entering], None]:
    def add(cells: Cells, entering: Entering) -> None:
        held, holder, values = cells[field], cells[f"{field}_rank"], entering.values
        nan, held_nan = np.isnan(values), np.isnan(held)
        wins = better(values, held) | (nan & ~held_nan)
        # Between equals the lowest rank holds it, whichever came first.
        ties = ((values == held) | (nan & held_nan)) & (entering.rank < holder)
        np.copyto(holder, entering.rank, where=wins | ties)
        choose(held, values, out=held)

    return add


def _add_std(cells: Cells, entering: Entering) -> None:
    """Welford's update. The deviation is the population's, of all values; weights play no part."""
    mean, squares = cells["std_mean"], cells["std_squares"]
    off = entering.values - mean
    mean += off / cells["logged"]
    squares += off * (entering.values - mean)


def _std(cells: Cells) -> Values:
    deviation: Values = np.sqrt(cells["std_squares"] / cells["logged"])
    return deviation


def _add_first(cells: Cells, entering: Entering) -> None:
    at, rank = cells["first_time"], cells["first_rank"]
    _take("first", cells, entering, (entering.times < at) | ((entering.times == at) & (entering.rank < rank)))


def _add_last(cells: Cells, entering: Entering) -> None:
    at, rank = cells["last_time"], cells["last_rank"]
    _take("last", cells, entering, (entering.times > at) | ((entering.times == at) & (entering.rank >= rank)))


def _take(field: str, cells: Cells, entering: Entering, where: NDArray[np.bool_]) -> None:
    np.copyto(cells[field], entering.values, where=where)
    np.copyto(cells[f"{field}_time"], entering.times, where=where)
    np.copyto(cells[f"{field}_rank"], entering.rank, where=where)


_F, _R = np.float64, np.int32

PARTIALS = {
    "mean": Partial({"mean_total": (_F, 0.0), "mean_error": (_F, 0.0), "weight": (_F, 0.0)}, _add_mean, _mean),
    "sum": Partial({"sum_total": (_F, 0.0), "sum_error": (_F, 0.0)}, _add_sum, _sum),
    "min": Partial(
        {"min": (_F, np.inf), "min_rank": (_R, NO_RANK)},
        _extreme("min", np.less, np.minimum),
        lambda cells: cells["min"].copy(),
        "min_rank",
    ),
    "max": Partial(
        {"max": (_F, -np.inf), "max_rank": (_R, NO_RANK)},
        _extreme("max", np.greater, np.maximum),
        lambda cells: cells["max"].copy(),
        "max_rank",
    ),
    "std": Partial({"std_mean": (_F, 0.0), "std_squares": (_F, 0.0)}, _add_std, _std),
    "first": Partial(
        {"first": (_F, 0.0), "first_time": (_F, np.inf), "first_rank": (_R, NO_RANK)},
        _add_first,
        lambda cells: cells["first"].copy(),
    ),
    "last": Partial(
        {"last": (_F, 0.0), "last_time": (_F, -np.inf), "last_rank": (_R, -1)},
        _add_last,
        lambda cells: cells["last"].copy(),
    ),
}
"""By the reduction's name; `none` keeps nothing."""
