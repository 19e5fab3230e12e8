"""How a module's values are reduced over ranks, by what `self.log` was told: what sync_dist=True would have given.

The reading of Lightning's _ResultCollection is here, and in no other file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from asynclog._lightning.call import Call, Plan
from asynclog._lightning.frameworks import blank
from asynclog._lightning.lanes import Lane

_SEEN = "_asynclog_seen"

MOST_PLANS = 1000


class Rows:
    """Makes calls of one rank into a call for each row, which is one where all means have one weight."""

    def __init__(self, rank: int) -> None:
        self._rank = rank
        self._plans: dict[tuple[Any, ...], list[Plan]] = {}

    def of(self, results: Any, metrics: Mapping[str, Any], step: int, lane: Lane, *, on_step: bool) -> Sequence[Call]:
        """The rows of one call. Names that no `self.log` made (epoch, say) are means.

        `results` is Lightning's _ResultCollection, or None. What is rank 0's alone is left out on other ranks.
        """
        if results is None or not on_step:
            call = Call(metrics, step, lane=lane)
            return (call,) if results is None else _sorted(results, call, self._rank, on_step=False)
        # A step's values have no weight: which are a row, and how each is reduced, is the same at each step.
        key = (lane, len(results), *metrics)
        plans = self._plans.get(key)
        if plans is None:
            plans = self._planned(key, results, metrics)
        if len(plans) == 1 and len(plans[0].names) == len(metrics):
            return (Call(metrics, step, None, plans[0].reduce, lane, plans[0]),)
        return [
            Call({name: metrics[name] for name in plan.names}, step, None, plan.reduce, lane, plan) for plan in plans
        ]

    def _planned(self, key: tuple[Any, ...], results: Any, metrics: Mapping[str, Any]) -> list[Plan]:
        if len(self._plans) >= MOST_PLANS:
            self._plans.clear()
        parts = _sorted(results, Call(metrics, None), self._rank, on_step=True)
        made = self._plans[key] = [Plan(tuple(part.metrics), part.reduce) for part in parts]
        return made


def _sorted(results: Any, call: Call, rank: int, *, on_step: bool) -> list[Call]:
    known, metrics = _by_name(results, on_step=on_step), call.metrics
    rows: dict[float | None, dict[str, str]] = {}
    free: dict[str, str] = {}
    for name in metrics:
        metric = known.get(name)
        if metric is not None and metric.meta.sync.rank_zero_only and rank != 0:
            continue
        reduce, weight = ("mean", None) if metric is None else _way(metric, on_step=on_step)
        # An epoch is one number on all ranks: its mean is that whatever the weights are.
        weightless = reduce != "mean" or name == "epoch"
        (free if weightless else rows.setdefault(weight, {}))[name] = reduce
    first = next(iter(rows), None)
    rows[first] = {**rows.get(first, {}), **free}
    return [
        call._replace(
            metrics={name: metrics[name] for name in row},
            weight=weight,
            reduce={name: way for name, way in row.items() if way != "mean"},
        )
        for weight, row in rows.items()
        if row
    ]


def track(results: Any) -> None:
    """Count the samples of each of a collection's metrics in Python: Lightning's own count is on the device."""
    base = type(results)
    if base.__name__ == "_ResultCollection":
        results.__class__ = _tracking(base)  # type: ignore[arg-type]  # a class is hashable


def _by_name(results: Any, *, on_step: bool) -> dict[str, Any]:
    return {
        results._forked_name(metric, on_step)[1]: metric  # noqa: SLF001 - the rule is Lightning's
        for metric in results.values()
        if metric.meta.logger and not metric.has_reset
    }


def _way(metric: Any, *, on_step: bool) -> tuple[str, float | None]:
    meta = metric.meta
    if not metric.is_tensor:
        return "mean", None  # a torchmetrics object has reduced itself, or is a rank's view of a step
    if meta.sync.should and not meta.sync.rank_zero_only:
        return "first", None  # every rank has the reduced value already
    reduce = str(meta.reduce_fx.__name__)
    if reduce == "mean" and not on_step:
        seen = getattr(metric, _SEEN, 0)
        return reduce, float(seen) if seen else None
    return reduce, None


@cache
def _tracking(base: Any) -> Any:
    class TrackingResults(base):  # type: ignore[misc]  # Lightning's class, known when it is loaded
        """Lightning's collection; counts samples beside it."""

        def update_metrics(self, key: str, value: Any, batch_size: int) -> None:
            metric = self[key]
            seen = 0 if metric.has_reset else getattr(metric, _SEEN, 0)
            setattr(metric, _SEEN, seen + batch_size)
            super().update_metrics(key, value, batch_size)

        def __reduce__(self) -> tuple[Any, ...]:
            # Pickled and copied as Lightning's own, which a class made here could not be.
            return blank, (base,), dict(self.__dict__), None, iter(self.items())

    return TrackingResults
