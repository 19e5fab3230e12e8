"""Histograms as TensorBoard's HistogramProto has them. Source: torch/utils/tensorboard/summary.py, make_histogram."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from asynclogd.media import wishes
from asynclogd.media.bins import check_rule, given_edges, thinned, trimmed
from asynclogd.media.body import Array, Body, counted, nonfinite
from asynclogd.media.forms import HISTOGRAM, Encoded, UnfitError
from asynclogd.media.limits import MAX_BINS, check_count

_STATS = 5
_NUM = 2
"""Where the stats have the number of values."""

_CHUNK = 1 << 22
"""Values that are float64 at a time."""

_MOST_AT_ONCE = 1 << 25
"""Values for a rule that has to see all of them."""


def encode(body: Body, options: Mapping[str, Any]) -> Encoded:
    """Of values of any shape, or of bins that were counted before (sections stats, edges, counts)."""
    if "values" not in body:
        return _counted_before(body, options)
    size = math.prod(body.shape("values"))
    if not size:
        raise UnfitError("a histogram of no values; at least one is accepted")
    stats = _stats(body)
    lost = size - int(stats[_NUM])
    if lost == size:
        raise UnfitError(f"a histogram of {lost} values, none of which is finite")
    counts, edges = _counts(body, size, options.get("bins"))
    if options.get("max_bins") is not None:
        counts, edges = thinned(counts, edges, wishes.whole(options, "max_bins", MAX_BINS, 1, MAX_BINS))
    if not counts.any():
        raise UnfitError(f"none of {size} values lies in a bin; they reach from {edges[0]:g} to {edges[-1]:g}")
    counts, limits = trimmed(counts, edges)
    return _encoded(stats, limits, counts, lost)


def _counts(body: Body, size: int, bins: Any) -> tuple[Array, Array]:
    """Counts (n,) and edges (n + 1,)."""
    edges = given_edges(bins)
    if edges is not None:
        counts = np.zeros(len(edges) - 1, np.int64)
        for piece in _pieces(body, _CHUNK):
            counts += np.histogram(piece, bins=edges)[0]
        return counts, edges
    check_count(f"values for bins={bins!r}", size, _MOST_AT_ONCE)
    (whole,) = _pieces(body, _MOST_AT_ONCE)
    check_rule(bins, whole)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # "stone" says that it could do better
            return np.histogram(whole, bins=bins)
    except (ValueError, IndexError) as error:  # a range that float64 or NumPy can't divide
        raise UnfitError(f"bins={bins!r} of {size} values: {error}") from None


def _pieces(body: Body, size: int) -> Iterator[Array]:
    """What is finite of the values, in order, as float64."""
    for piece in body.pieces("values", size):
        wide = piece.astype(np.float64)
        yield wide[np.isfinite(wide)]


def _stats(body: Body) -> list[float]:
    """min, max, num, sum, sum of squares of what is finite."""
    least, most, count, total, squares = np.inf, -np.inf, 0, 0.0, 0.0
    for piece in _pieces(body, _CHUNK):
        if piece.size:
            least, most = min(least, piece.min()), max(most, piece.max())
            total, squares = total + piece.sum(), squares + piece.dot(piece)
            count += piece.size
    return [least, most, count, total, squares]


def _counted_before(body: Body, options: Mapping[str, Any]) -> Encoded:
    stats = body.array("stats", dims=1, axes="(5,)").astype(np.float64)
    edges = body.array("edges", dims=1, axes="(n,)").astype(np.float64)
    counts = body.array("counts", dims=1, axes="(n,)").astype(np.float64)
    if stats.size != 5 or edges.size != counts.size or not counts.size:
        raise UnfitError(
            f"a histogram of {stats.size} stats, {edges.size} edges and {counts.size} counts; 5 (min, max, num, sum,"
            " sum of squares), n upper edges and n counts are accepted"
        )
    check_count("bins", counts.size, MAX_BINS)
    lost = wishes.whole(options, "nonfinite", 0, 0, 1 << 53)
    if stats[_NUM] <= 0:
        raise UnfitError(f"a histogram of no finite value ({lost} were not)")
    if nonfinite(counts) or counts.min() < 0 or np.isnan(edges).any() or np.any(edges[1:] < edges[:-1]):
        raise UnfitError("a histogram's edges rise, and its counts are finite and not negative")
    return _encoded(stats.tolist(), edges, counts, lost)


def decode(data: bytes, n: int) -> tuple[list[float], Array, Array]:
    """What such a blob of n bins has: min, max, num, sum and sum of squares; upper edges; counts. Raises ValueError."""
    numbers = np.frombuffer(data, "<f8")
    if len(numbers) != _STATS + 2 * n:
        raise ValueError(f"{len(numbers)} numbers where {n} bins are told")
    return numbers[:_STATS].tolist(), numbers[_STATS : _STATS + n], numbers[_STATS + n :]


def _encoded(stats: list[float], limits: Array, counts: Array, lost: int) -> Encoded:
    data = np.concatenate([stats, limits, counts]).astype("<f8").tobytes()
    return Encoded(HISTOGRAM, data, {"n": len(counts), **counted(lost)})
