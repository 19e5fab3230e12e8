"""The daemon's state for Prometheus: the measures of a report and the last reduced values, as families of metrics.

Names of series, runs and backends are label values, never parts of a metric's name: every name fits as it is, and no
two become one. Pure: numbers in, families out. Of the SDK only its types are used; it is imported when they are wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from asynclogd import measures
from asynclogd.measures import Group, Measure, of_run

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

STATES = ("ok", "retrying", "broken", "hanging", "closed")

Labels = Mapping[str, str]
Samples = Iterable[tuple[Labels, float]]
Report = Mapping[str, Any]


def families(report: Report, values: Mapping[str, Mapping[str, float]]) -> Iterator[Metric]:
    """All families. `report` is report.py's; `values` are the last ones of each series by a run's directory."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    def gauge(name: str, about: str, labels: Iterable[str], samples: Samples) -> Metric:
        return _filled(GaugeMetricFamily(f"asynclog_{name}", about, labels=tuple(labels)), samples)

    yield InfoMetricFamily("asynclog_daemon", "the daemon", value={"version": report["daemon"]["version"]})
    for group in measures.GROUPS:
        for measure in group.measures:
            family = CounterMetricFamily if measure.total else GaugeMetricFamily
            labels = (*group.labels, measure.by) if measure.by else group.labels
            name = measures.spelled(group.name, measure.key)
            yield _filled(family(name, measure.about, labels=labels), _samples(group, measure, report))
    for group in measures.STAGED:
        yield _stages(group, report)
    runs = report["runs"]
    yield gauge("streams", "ranks by what they are", ("project", "run", "state"), _streams(runs))
    yield gauge("backend_state", "1 for the state that it is in", ("project", "run", "backend", "state"), _states(runs))
    metric = (
        (of_run(run) | {"name": name}, value) for run in runs for name, value in values.get(run["dir"], {}).items()
    )
    yield gauge("metric", "the reduced value of a series at its last step", ("project", "run", "name"), metric)


def _filled(family: Any, samples: Samples) -> Metric:
    for labels, value in samples:
        family.add_metric([labels[name] for name in family._labelnames], value)  # noqa: SLF001 - in the order it wants
    metric: Metric = family
    return metric


def _samples(group: Group, measure: Measure, report: Report) -> Samples:
    for labels, told in group.rows(report):
        value = told[measure.key]
        if measure.by:
            yield from ((labels | {measure.by: str(key)}, float(each)) for key, each in value.items())
        elif (found := measures.number(value)) is not None:
            yield labels, found


def _stages(group: Group, report: Report) -> Metric:
    from prometheus_client.core import SummaryMetricFamily

    name = measures.spelled(group.name, "stage_s")
    family = SummaryMetricFamily(name, "a call of a stage: quantiles of the last ones", labels=(*group.labels, "stage"))
    for labels, told in group.rows(report):
        for stage, took in told["stages"].items():
            own = labels | {"stage": stage}
            for share, key in (("0.5", "p50_s"), ("0.99", "p99_s")):
                family.add_sample(name, own | {"quantile": share}, took[key])
            family.add_sample(f"{name}_count", own, took["calls"])
            family.add_sample(f"{name}_sum", own, took["total_s"])
    metric: Metric = family
    return metric


def _streams(runs: Iterable[Mapping[str, Any]]) -> Samples:
    for run in runs:
        states = [rank["state"] for rank in run["ranks"]]
        for state in dict.fromkeys(states):
            yield of_run(run) | {"state": state}, states.count(state)


def _states(runs: Iterable[Mapping[str, Any]]) -> Samples:
    for run in runs:
        for name, backend in run["backends"].items():
            for state in STATES:
                yield of_run(run) | {"backend": name, "state": state}, float(backend["state"] == state)
