"""The daemon's state for Prometheus: what a report says and the last reduced values, as families of metrics.

Names of series, runs and backends are label values, never parts of a metric's name: every name fits as it is, and no
two become one. Pure: numbers in, families out. Of the SDK only its types are used; it is imported when they are wanted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

STATES = ("ok", "retrying", "broken", "hanging", "closed")

Labels = Mapping[str, str]
Samples = Iterable[tuple[Labels, float]]

_DAEMON = (
    ("uptime_seconds", "since the daemon started", "uptime_s"),
    ("resident_memory_bytes", "of the daemon's process", "rss_bytes"),
    ("connections", "of clients and tools, now", "connections"),
)
_DAEMON_TOTALS = (
    ("cpu_seconds", "of the daemon's process", "cpu_s"),
    ("messages", "of clients and tools", "messages"),
    ("received_bytes", "of messages", "received_bytes"),
    ("malformed_messages", "that were refused", "malformed"),
    ("unroutable_messages", "whose receiver had gone", "unroutable"),
    ("connections_accepted", "of clients and tools, welcome or not", "connections_accepted"),
    ("connections_refused", "of other users, and of keys that are not allowed", "connections_refused"),
    ("connections_failed", "that ended before their handshake was done", "connections_failed"),
    ("connections_cut", "that took memory or a place and said nothing, or whose key was revoked", "connections_cut"),
    ("connections_sent_away", "for which there was no room", "connections_sent_away"),
)
_BACKENDS = (
    ("lag_items", "items of the run that the backend lacks", "behind_items"),
    ("retries", "since it last went well", "retries"),
    ("call_seconds", "for how long the call of the backend has been going on that does", "call_s"),
    ("narrowed_to_bytes", "what a cycle may send since the service was throttled; 0: nothing limits it",
     "narrowed_to_bytes"),
)  # fmt: skip
_BACKEND_TOTALS = (
    ("failures", "of calls, in this daemon's life", "failures"),
    ("timeouts", "calls that took longer than the option delivery.timeout, in this daemon's life", "timeouts"),
    ("dead_letters", "items that it refused for good, in this daemon's life", "dead_letters"),
)


def families(
    report: Mapping[str, Any], values: Mapping[str, Mapping[str, float]], journal_bytes: Mapping[str, int]
) -> Iterator[Metric]:
    """All families. `report` is report.py's; `values` and `journal_bytes` are by a run's directory."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

    def gauge(name: str, about: str, labels: Iterable[str], samples: Samples) -> Metric:
        return _filled(GaugeMetricFamily(f"asynclog_{name}", about, labels=tuple(labels)), samples)

    def counter(name: str, about: str, labels: Iterable[str], samples: Samples) -> Metric:
        return _filled(CounterMetricFamily(f"asynclog_{name}", about, labels=tuple(labels)), samples)

    daemon, runs = report["daemon"], report["runs"]
    yield InfoMetricFamily("asynclog_daemon", "the daemon", value={"version": daemon["version"]})
    for name, about, key in _DAEMON:
        yield gauge(f"daemon_{name}", about, (), [({}, daemon[key])])
    for name, about, key in _DAEMON_TOTALS:
        yield counter(f"daemon_{name}", about, (), [({}, daemon[key])])
    yield gauge("runs", "that are open", (), [({}, len(runs))])
    yield gauge("streams", "ranks by what they are", ("project", "run", "state"), _streams(runs))
    yield gauge("step", "the highest that a rank has logged", ("project", "run", "rank"), _steps(runs))
    yield gauge("journal_bytes", "on disk", ("project", "run"), _journals(runs, journal_bytes))
    yield counter("values_issued", "values given to log()", ("project", "run"), _ledgers(runs, "issued"))
    yield counter("values_journaled", "values that are safe", ("project", "run"), _ledgers(runs, "journaled"))
    yield counter("values_dropped", "values by why they are not", ("project", "run", "cause"), _dropped(runs))
    backend = ("project", "run", "backend")
    yield gauge("backend_state", "1 for the state that it is in", (*backend, "state"), _states(runs))
    for name, about, key in _BACKENDS:
        yield gauge(f"backend_{name}", about, backend, _backends(runs, key))
    for name, about, key in _BACKEND_TOTALS:
        yield counter(f"backend_{name}", about, backend, _backends(runs, key))
    became = _became(runs)
    yield gauge("backend_values", "journaled values by what became of them there", (*backend, "became"), became)
    metric = ((_of(run) | {"name": name}, value) for run in runs for name, value in values.get(run["dir"], {}).items())
    yield gauge("metric", "the reduced value of a series at its last step", ("project", "run", "name"), metric)


def _filled(family: Any, samples: Samples) -> Metric:
    for labels, value in samples:
        family.add_metric([labels[name] for name in family._labelnames], value)  # noqa: SLF001 - in the order it wants
    metric: Metric = family
    return metric


def _of(run: Mapping[str, Any]) -> dict[str, str]:
    return {"project": run["project"], "run": run["name"]}


def _streams(runs: Iterable[Mapping[str, Any]]) -> Samples:
    for run in runs:
        states = [rank["state"] for rank in run["ranks"]]
        for state in dict.fromkeys(states):
            yield _of(run) | {"state": state}, states.count(state)


def _steps(runs: Iterable[Mapping[str, Any]]) -> Samples:
    for run in runs:
        # A rank has a stream for each of its processes.
        steps: dict[int, int] = {}
        for rank in run["ranks"]:
            steps[rank["rank"]] = max(rank["step"], steps.get(rank["rank"], rank["step"]))
        for number, step in steps.items():
            yield _of(run) | {"rank": str(number)}, step


def _journals(runs: Iterable[Mapping[str, Any]], sizes: Mapping[str, int]) -> Samples:
    return ((_of(run), sizes[run["dir"]]) for run in runs if run["dir"] in sizes)


def _ledgers(runs: Iterable[Mapping[str, Any]], key: str) -> Samples:
    return ((_of(run), run["ledger"][key]) for run in runs)


def _dropped(runs: Iterable[Mapping[str, Any]]) -> Samples:
    for run in runs:
        for cause, count in run["ledger"]["dropped"].items():
            yield _of(run) | {"cause": cause}, count


def _states(runs: Iterable[Mapping[str, Any]]) -> Samples:
    for run in runs:
        for name, backend in run["backends"].items():
            for state in STATES:
                yield _of(run) | {"backend": name, "state": state}, float(backend["state"] == state)


def _backends(runs: Iterable[Mapping[str, Any]], key: str) -> Samples:
    for run in runs:
        for name, backend in run["backends"].items():
            yield _of(run) | {"backend": name}, backend[key]


def _became(runs: Iterable[Mapping[str, Any]]) -> Samples:
    for run in runs:
        for name, row in run["ledger"]["backends"].items():
            for became in ("delivered", "pending", "limited", "dead"):
                yield _of(run) | {"backend": name, "became": became}, row[became]
