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
from asynclogd.measures import GROUPS

TOOK = {"calls": 3, "total_s": 0.5, "p50_s": 0.1, "p99_s": 0.3}


def told(group: str, **given: Any) -> dict[str, Any]:
    """A part of the report, 0 where nothing is given."""
    (found,) = (each for each in GROUPS if each.name == group)
    return {measure.key: {} if measure.by else 0 for measure in found.measures} | {"stages": {}} | given


DAEMON = told("daemon", version="0.1.0", cpu_s=0.5, stages={"ingest": TOOK})


def rank(number: int, incarnation: str, state: str, step: int) -> dict[str, Any]:
    return told("rank", rank=number, incarnation=incarnation, state=state, step=step, silent_s=None)


def run(name: str, backend: str = "csv") -> dict[str, Any]:
    row = told("ledger_backend", delivered=60, pending=20, limited=7, dead=3, points=30)
    return told(
        "run",
        project="p",
        name=name,
        dir=f"/d/p/{name}",
        journal_bytes=4096,
        journal_error="disk full",
        ranks=[rank(0, "a", "dead", 3), rank(0, "b", "live", 9), rank(1, "c", "live", 8)],
        backends={backend: told("backend", state="retrying", trouble="", behind_items=4, failures=5)},
        media=told("media", error=""),
        ledger=told("ledger", issued=100, dropped={"ring_full": 8, "lost": 2}, backends={backend: row}),
        stages={"journal": TOOK},
        backend_stages={backend: {"write": TOOK}},
    )


class Told:
    """A collector of one picture."""

    def __init__(self, runs: list[dict[str, Any]], values: Mapping[str, Mapping[str, float]]) -> None:
        self._told = list(families({"busy": True, "daemon": DAEMON, "runs": runs}, values))

    def collect(self) -> Any:
        return iter(self._told)


def samples(runs: list[dict[str, Any]], values: Mapping[str, Mapping[str, float]]) -> dict[Any, float]:
    registry = CollectorRegistry()
    registry.register(Told(runs, values))
    found = [sample for family in parse(generate_latest(registry).decode()) for sample in family.samples]
    assert [*parse_openmetrics(generate_openmetrics(registry).decode())]
    samples = {(sample.name, frozenset(sample.labels.items())): sample.value for sample in found}
    assert len(samples) == len(found), "two samples have the same name and labels"
    return samples


def key(name: str, /, **labels: str) -> Any:
    return f"asynclog_{name}", frozenset(labels.items())


def test_runs_ranks_backends_and_the_ledger_are_told() -> None:
    found = samples([run("r")], {"/d/p/r": {"loss": 0.5}})
    of = {"project": "p", "run": "r"}
    expected = {
        key("busy"): 1,
        key("daemon_cpu_seconds_total"): 0.5,
        key("streams", **of, state="live"): 2,
        key("streams", **of, state="dead"): 1,
        key("rank_step", **of, rank="0", incarnation="b"): 9,
        key("run_journal_bytes", **of): 4096,
        key("run_journal_error", **of): 1,
        key("media_error", **of): 0,
        key("ledger_issued_total", **of): 100,
        key("ledger_dropped_total", **of, cause="ring_full"): 8,
        key("backend_state", **of, backend="csv", state="retrying"): 1,
        key("backend_state", **of, backend="csv", state="ok"): 0,
        key("backend_behind_items", **of, backend="csv"): 4,
        key("backend_failures_total", **of, backend="csv"): 5,
        key("ledger_backend_pending", **of, backend="csv"): 20,
        key("daemon_stage_seconds", stage="ingest", quantile="0.99"): 0.3,
        key("run_stage_seconds", **of, stage="journal", quantile="0.5"): 0.1,
        key("run_stage_seconds_count", **of, stage="journal"): 3,
        key("run_stage_seconds_sum", **of, stage="journal"): 0.5,
        key("backend_stage_seconds_count", **of, backend="csv", stage="write"): 3,
        key("metric", **of, name="loss"): 0.5,
    }
    assert {place: found[place] for place in expected} == expected
    assert not any(name == "asynclog_rank_silent_seconds" for name, _ in found), "it is not known"


def test_a_daemon_without_runs_tells_of_itself() -> None:
    found = samples([], {})
    assert found[key("daemon_malformed_total")] == 0
    assert found[key("daemon_info", version="0.1.0")] == 1


def test_values_that_are_not_finite_are_themselves() -> None:
    found = samples([run("r")], {"/d/p/r": {"a": math.nan, "b": math.inf, "c": -math.inf}})
    values = [found[key("metric", project="p", run="r", name=name)] for name in "abc"]
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
