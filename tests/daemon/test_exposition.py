"""What Prometheus is told, read back by its client's own parser."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.openmetrics.exposition import generate_latest as generate_openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse

from asynclogd.exposition import families

DAEMON = {
    "version": "0.1.0",
    "uptime_s": 12.5,
    "rss_bytes": 1 << 20,
    "cpu_s": 0.5,
    "messages": 7,
    "received_bytes": 900,
    "malformed": 0,
    "unroutable": 1,
    "connections": 1,
    "connections_accepted": 2,
    "connections_refused": 0,
    "connections_failed": 0,
    "connections_cut": 0,
    "connections_sent_away": 0,
}


def run(name: str, backend: str = "csv", **ledger: Any) -> dict[str, Any]:
    counts = {"issued": 100, "journaled": 90, "dropped": {"ring_full": 8, "lost": 2}} | ledger
    row = {"delivered": 60, "pending": 20, "limited": 7, "dead": 3, "points": 30}
    return {
        "project": "p",
        "name": name,
        "dir": f"/d/p/{name}",
        "ranks": [
            {"rank": 0, "state": "dead", "step": 3},
            {"rank": 0, "state": "live", "step": 9},
            {"rank": 1, "state": "live", "step": 8},
        ],
        "backends": {
            backend: {
                "state": "retrying",
                "behind_items": 4,
                "retries": 2,
                "call_s": 1.5,
                "narrowed_to_bytes": 0,
                "failures": 5,
                "timeouts": 1,
                "dead_letters": 1,
            }
        },
        "ledger": {**counts, "backends": {backend: row}},
    }


class Told:
    """A collector of one picture."""

    def __init__(self, runs: list[dict[str, Any]], values: Mapping[str, Mapping[str, float]]) -> None:
        self._told = list(families({"daemon": DAEMON, "runs": runs}, values, {"/d/p/r": 4096}))

    def collect(self) -> Any:
        return iter(self._told)


def samples(runs: list[dict[str, Any]], values: Mapping[str, Mapping[str, float]]) -> dict[Any, float]:
    registry = CollectorRegistry()
    registry.register(Told(runs, values))
    found = [sample for family in parse(generate_latest(registry).decode()) for sample in family.samples]
    assert [*parse_openmetrics(generate_openmetrics(registry).decode())]
    told = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}
    assert len(told) == len(found), "two samples have the same name and labels"
    return told


def key(name: str, /, **labels: str) -> Any:
    return f"asynclog_{name}", frozenset(labels.items())


def test_runs_ranks_backends_and_the_ledger_are_told() -> None:
    told = samples([run("r")], {"/d/p/r": {"loss": 0.5}})
    of = {"project": "p", "run": "r"}
    expected = {
        key("runs"): 1,
        key("daemon_cpu_seconds_total"): 0.5,
        key("streams", **of, state="live"): 2,
        key("streams", **of, state="dead"): 1,
        key("step", **of, rank="0"): 9,
        key("journal_bytes", **of): 4096,
        key("values_issued_total", **of): 100,
        key("values_dropped_total", **of, cause="ring_full"): 8,
        key("backend_state", **of, backend="csv", state="retrying"): 1,
        key("backend_state", **of, backend="csv", state="ok"): 0,
        key("backend_lag_items", **of, backend="csv"): 4,
        key("backend_failures_total", **of, backend="csv"): 5,
        key("backend_values", **of, backend="csv", became="pending"): 20,
        key("metric", **of, name="loss"): 0.5,
    }
    assert {place: told[place] for place in expected} == expected


def test_a_daemon_without_runs_tells_of_itself() -> None:
    told = samples([], {})
    assert told[key("runs")] == 0
    assert told[key("daemon_info", version="0.1.0")] == 1


def test_values_that_are_not_finite_are_themselves() -> None:
    told = samples([run("r")], {"/d/p/r": {"a": math.nan, "b": math.inf, "c": -math.inf}})
    values = [told[key("metric", project="p", run="r", name=name)] for name in "abc"]
    assert math.isnan(values[0])
    assert values[1:] == [math.inf, -math.inf]


# A line break within a line is the parser's own: str.splitlines knows more of them than the format has.
NAMES = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"), min_size=1
)


@given(st.dictionaries(NAMES, st.floats(allow_nan=False), max_size=20))
def test_every_name_comes_back_as_it_is_and_no_two_become_one(values: dict[str, float]) -> None:
    registry = CollectorRegistry()
    registry.register(Told([run("r")], {"/d/p/r": values}))
    text = generate_latest(registry).decode()
    found = [sample for family in parse(text) for sample in family.samples if sample.name == "asynclog_metric"]
    assert {sample.labels["name"]: sample.value for sample in found} == values
    assert len(found) == len(values)
