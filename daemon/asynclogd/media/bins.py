"""Bins of a histogram: which they are, and which of them are kept. Source: torch/utils/tensorboard/summary.py."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from asynclogd.media.body import Array
from asynclogd.media.forms import UnfitError
from asynclogd.media.limits import MAX_BINS, check_count

RULES = ("auto", "fd", "doane", "scott", "stone", "rice", "sturges", "sqrt")
"""NumPy's, which look at the values."""

_BY_QUARTILES = ("auto", "fd")


@functools.cache
def tensorflow_edges() -> Array:
    """SummaryWriter's default: 1e-12 * 1.1^k up to 1e20, the same below 0, and 0."""
    edges, edge = [], 1e-12
    while edge < 1e20:
        edges.append(edge)
        edge *= 1.1
    found = np.array([*(-edge for edge in reversed(edges)), 0.0, *edges])
    found.flags.writeable = False
    return found


def given_edges(bins: Any) -> Array | None:
    """The edges that `bins` says without a look at the values: if it is "tensorflow" (the default) or a list. None
    for a rule or a number.
    """
    if bins is None or bins == "tensorflow":
        return tensorflow_edges()
    if isinstance(bins, list):
        try:
            edges = np.array(bins, np.float64)
        except (TypeError, ValueError):
            raise _refused(bins) from None
        check_count("edges of bins", len(edges), MAX_BINS)
        if len(edges) < 2 or not np.all(np.diff(edges) >= 0) or not np.all(np.isfinite(edges)):
            raise _refused(bins)
        return edges
    return None


def check_rule(bins: Any, values: Array) -> None:
    """Raises UnfitError when `bins` is no rule or number, or will make too many bins of the values (n,) float64."""
    number = isinstance(bins, int) and not isinstance(bins, bool)
    if not number and bins not in RULES:
        raise _refused(bins)
    if number and not 0 < bins <= MAX_BINS:
        raise _refused(bins)
    if bins in _BY_QUARTILES:
        _check_quartiles(values)


def _check_quartiles(values: Array) -> None:
    """Freedman and Diaconis: a bin is 2 iqr / n^(1/3) wide. With one outlier that can be any number of them."""
    upper, lower = np.percentile(values, [75, 25])
    width = 2.0 * (upper - lower) * values.size ** (-1.0 / 3.0)
    bins = np.ptp(values) / width
    if width > 0 and bins > MAX_BINS:
        raise UnfitError(f"{bins:.0f} bins; at most {MAX_BINS} are accepted (outliers? bins='tensorflow' takes any)")


def _refused(bins: Any) -> UnfitError:
    accepted = f"'tensorflow', {', '.join(map(repr, RULES))}, 1 to {MAX_BINS} or a list of rising edges"
    return UnfitError(f"bins is {str(bins)[:80]!r}; {accepted} is accepted")


def thinned(counts: Array, edges: Array, most: int) -> tuple[Array, Array]:
    """Neighbours joined until there are about `most` bins: groups of n // most, as SummaryWriter's max_bins has it."""
    if len(counts) <= most:
        return counts, edges
    group = len(counts) // most
    left_over = len(counts) % group
    if left_over:
        counts = np.pad(counts, (0, group - left_over))
    counts = counts.reshape(-1, group).sum(axis=-1)
    fewer = np.empty(counts.size + 1, edges.dtype)
    fewer[:-1] = edges[:-1:group]
    fewer[-1] = edges[-1]
    return counts, fewer


def trimmed(counts: Array, edges: Array) -> tuple[Array, Array]:
    """Counts (n,) and edges (n + 1,) as counts and upper edges, without the empty bins at both ends but for one on the
    left, which says where the first begins.
    """
    (filled,) = np.nonzero(counts)
    start, end = int(filled[0]), int(filled[-1]) + 1
    kept = counts[start - 1 : end] if start else np.concatenate([[0], counts[:end]])
    return kept, edges[start : end + 1]
