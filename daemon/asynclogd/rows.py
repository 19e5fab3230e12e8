"""Rows of one rank as a table, on their way from the decoder to the reducer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Rows of the same names, in the order in which they were logged.

    names (n,), steps (k,) int64, times (k,) float64 in s since the epoch, weights (k,) float64,
    values (k, n) float64
    """

    names: tuple[str, ...]
    steps: NDArray[np.int64]
    times: NDArray[np.float64]
    weights: NDArray[np.float64]
    values: NDArray[np.float64]

    def columns(self, columns: Any) -> Rows:
        """The same rows with some of the names; `columns` is a slice or an array of indices."""
        if isinstance(columns, slice):
            names = self.names[columns]
        else:
            names = tuple(self.names[column] for column in columns.tolist())
        return Rows(names, self.steps, self.times, self.weights, self.values[:, columns])

    def picked(self, rows: Any) -> Rows:
        """Some of the rows; `rows` is an array of indices or a mask (k,)."""
        return Rows(self.names, self.steps[rows], self.times[rows], self.weights[rows], self.values[rows])

    def rounds(self) -> Iterator[Rows]:
        """The rows in as few parts as it takes for no part to have a step twice, each in the order of steps."""
        steps = self.steps
        if (steps[1:] > steps[:-1]).all():
            yield self
            return
        order = steps.argsort(kind="stable")
        begins = np.flatnonzero(np.concatenate([[True], steps[order][1:] != steps[order][:-1]]))
        sizes = np.diff(begins, append=len(steps))
        nth = np.arange(len(steps)) - np.repeat(begins, sizes)
        for number in range(int(sizes.max())):
            yield self.picked(order[nth == number])
