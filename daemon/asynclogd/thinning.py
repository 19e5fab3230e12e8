"""Which cells survive a bucket of time: minimum, maximum and last of each series, and what is not finite. Pure."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from asynclogd import cells
from asynclogd.cells import Cells


def visits_of(
    times: NDArray[np.float64], length: float, opened: float
) -> tuple[NDArray[np.int64], NDArray[np.float64], float]:
    """For each row how many buckets were begun up to it, 0 for the one that is open, and which is open then; and the
    one that is open in the end.
    """
    visits = np.zeros(len(times), np.int64)
    open_at = np.zeros(len(times))
    count = 0
    with np.errstate(over="ignore"):
        buckets = np.floor(times / length).tolist()
    for row, bucket in enumerate(buckets):
        if bucket > opened or bucket < opened - 1:
            count += 1
            opened = bucket
        visits[row], open_at[row] = count, opened
    return visits, open_at, opened


def thin(all_cells: Cells, visits: NDArray[Any], last_visit: int) -> tuple[Cells, Cells, int]:
    """Cells that go out, cells that stay held, and the logged values of the cells that are left out.

    A segment is what one series has in one bucket between two values that are not finite.
    """
    if not len(all_cells):
        return all_cells, all_cells, 0
    order = np.argsort(all_cells["series"], kind="stable")
    all_cells, visits = all_cells[order], visits[order]
    values = all_cells["value"]
    odd = ~np.isfinite(values)
    series = all_cells["series"]
    begins = np.ones(len(values), bool)
    begins[1:] = (series[1:] != series[:-1]) | (visits[1:] != visits[:-1]) | odd[1:] | odd[:-1]
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], len(values)) - 1
    segment = np.cumsum(begins) - 1
    keep = odd.copy()
    keep[ends] = True
    for extremes in (np.minimum.reduceat(values, starts), np.maximum.reduceat(values, starts)):
        keep[_firsts(values == extremes[segment], segment)] = True
    last_of_series = np.append(series[ends][1:] != series[ends][:-1], True)
    is_open = (last_of_series & (visits[ends] == last_visit) & ~odd[ends])[segment]
    limited = cells.logged_total(all_cells[~keep])
    return all_cells[keep & ~is_open], all_cells[keep & is_open], limited


def _firsts(mask: NDArray[np.bool_], segment: NDArray[np.int64]) -> NDArray[np.intp]:
    """The first index in each segment where `mask` holds."""
    indices = np.flatnonzero(mask)
    groups = segment[indices]
    first = np.ones(len(indices), bool)
    first[1:] = groups[1:] != groups[:-1]
    return indices[first]
