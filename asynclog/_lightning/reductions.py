"""How a module's values are reduced over ranks, by what `self.log` was told: what sync_dist=True would have given.

The reading of Lightning's _ResultCollection is here, and in no other file.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from asynclog._lightning.call import Call, Plan
from asynclog._lightning.frameworks import blank

_SEEN, _PLANS = "_asynclog_seen", "_asynclog_plans"


def rows(results: Any, call: Call, rank: int, *, on_step: bool) -> list[Call]:
    """One call as a call for each row, which is one where all means have one weight. Names that no `self.log` made
    (epoch, say) are means.

    `results` is Lightning's _ResultCollection, or None. What is rank 0's alone is left out on other ranks.
    """
    if results is None:
        return [call]
    if not on_step:
        return _sorted(_by_name(results, on_step=False), call, rank, on_step=False)
    # A step's values have no weight: which are a row, and how each is reduced, is the same at each step.
    metrics = call.metrics
    plans = results.__dict__.setdefault(_PLANS, {})
    key = len(results), *metrics
    made = plans.get(key)
    if made is None:
        parts = _sorted(_by_name(results, on_step=True), call, rank, on_step=True)
        made = plans[key] = [Plan(tuple(part.metrics), part.reduce) for part in parts]
    if len(made) == 1 and len(made[0].names) == len(metrics):
        return [Call(metrics, call.step, None, made[0].reduce, call.lane, made[0])]
    return [
        Call({name: metrics[name] for name in plan.names}, call.step, None, plan.reduce, call.lane, plan)
        for plan in made
    ]


def _sorted(known: Mapping[str, Any], call: Call, rank: int, *, on_step: bool) -> list[Call]:
    metrics = call.metrics
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
            state = {name: value for name, value in self.__dict__.items() if name != _PLANS}
            return blank, (base,), state, None, iter(self.items())

    return TrackingResults
