"""A histogram that a device makes: only its bins travel. Plain operations of torch, without one that waits.

The bins are SummaryWriter's: 1e-12 * 1.1**i up to 1e20, both signs, and 0 between. torch.bincount would be the plain
way and waits for the device to learn how long its answer is; torch.histc does not.
"""

from __future__ import annotations

import sys
from functools import lru_cache
from typing import Any

from asynclog._media.form import Part, numbers_part
from asynclog_proto.media import Option

CHUNK = 1 << 23
"""Elements folded at once: bounds the memory, and float32 counts to 2**24 exactly."""

STATS = 6
"""min, max, num, sum, sum of squares, nonfinite: what comes ahead of the counts."""


@lru_cache(maxsize=1)
def edges() -> tuple[float, ...]:
    """The edges of all bins, ascending: one more than there are bins."""
    ups, up = [], 1e-12
    while up < 1e20:
        ups.append(up)
        up *= 1.1
    return (*(-up for up in reversed(ups)), 0.0, *ups)


@lru_cache(maxsize=1)
def _bounds() -> Any:
    """The edges as a tensor on the host: small enough that its way to a device waits for nothing."""
    return sys.modules["torch"].tensor(edges(), dtype=sys.modules["torch"].float64)


def fold(tensor: Any) -> Any:
    """STATS and the counts of a tensor's elements, one float64 vector (float32 where the device has no float64)."""
    torch = sys.modules["torch"]
    wide = torch.float32 if tensor.device.type == "mps" else torch.float64
    bounds = _bounds().to(tensor.device, wide, non_blocking=True)
    flat = tensor.detach().reshape(-1)
    chunks = [_fold(torch, chunk.to(wide), bounds) for chunk in flat.split(CHUNK)]
    low, high, *sums = (torch.stack(column) for column in zip(*chunks, strict=True))
    added = [column.sum(0).reshape(-1) for column in sums]
    return torch.cat([low.amin().reshape(1), high.amax().reshape(1), *added])


def _fold(torch: Any, values: Any, bounds: Any) -> tuple[Any, ...]:
    finite = torch.isfinite(values)
    kept = torch.where(finite, values, 0)
    inf = float("inf")
    at = torch.bucketize(values, bounds, right=True, out_int32=True)
    at = torch.where(values == bounds[-1], at - 1, at)  # the last bin has its end
    at = torch.where(finite, at, 0)
    return (
        torch.where(finite, values, inf).amin(),
        torch.where(finite, values, -inf).amax(),
        finite.sum().to(values.dtype),
        kept.sum(),
        kept.square().sum(),
        (~finite).sum().to(values.dtype),
        _counts(torch, at, len(bounds) - 1).to(values.dtype),
    )


def _counts(torch: Any, at: Any, bins: int) -> Any:
    """How often 1 to `bins` are in `at`, among numbers from 0 to bins + 1."""
    if torch.are_deterministic_algorithms_enabled():  # which histc is not on CUDA, where it is the faster
        empty = torch.zeros(bins + 2, dtype=torch.float32, device=at.device)
        return empty.index_add_(0, at, torch.ones_like(at, dtype=torch.float32))[1:-1]
    # Half a bin off: a count lies in the middle of its bin, where no rounding moves it.
    return torch.histc(at.to(torch.float32) - 0.5, bins=bins, min=0, max=bins)


def parts_of(folded: Any) -> tuple[tuple[Part, ...], dict[str, Option]]:
    """The sections stats, edges and counts, and the option nonfinite, of a fold that arrived.

    As in torch.utils.tensorboard.summary.make_histogram only the bins between the first and the last that are not empty
    are kept, each by its upper edge, after an empty one that ends where they begin.
    """
    import numpy as np

    folded = np.asarray(folded, dtype=np.float64)
    stats, counts = folded[: STATS - 1], folded[STATS:]
    bounds = np.array(edges())
    filled = np.flatnonzero(counts)
    first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, 0)
    if not len(filled) and not stats[2]:
        stats = np.zeros(STATS - 1)
    kept = np.concatenate([[0.0], counts[first : last + 1]])
    named = {"stats": stats, "edges": bounds[first : last + 2], "counts": kept}
    parts = tuple(numbers_part(role, data) for role, data in named.items())
    return parts, {"nonfinite": int(folded[STATS - 1])}
