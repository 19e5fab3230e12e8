"""Every number that the daemon tells of itself, once: `asynclog status --json` and `/metrics` show these by one name.

A measure is a key of the report (report.py). Prometheus has it as `asynclog_<group>_<key>`, spelled by its rules. A
number that is added to the report and not to this table fails a test, and so does a row of it that the report lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

Told = Mapping[str, Any]
Rows = Iterator[tuple[dict[str, str], Told]]


class Measure(NamedTuple):
    """`key` in the report, where a text counts as 1 while there is one, and None is not told. `total`: it only grows.
    With `by` the key has a mapping, whose keys are values of that label.
    """

    key: str
    about: str
    total: bool = False
    by: str = ""


class Group(NamedTuple):
    """Measures that stand in the same place: `rows` gives each such place of a report with its labels."""

    name: str
    labels: tuple[str, ...]
    rows: Callable[[Told], Rows]
    measures: tuple[Measure, ...]


def spelled(group: str, key: str) -> str:
    """Prometheus' name of a measure, without the `_total` of what only grows: units are written out."""
    unit = f"{key[:-2]}_seconds" if key.endswith("_s") else key
    return "_".join(filter(None, ("asynclog", group, unit)))


def number(value: object) -> float | None:
    """A value of the report as a number, None for one that is not told."""
    if value is None:
        return None
    return float(bool(value)) if isinstance(value, str) else float(value)  # type: ignore[arg-type]  # int, float, bool


def of_run(run: Told) -> dict[str, str]:
    """The labels of a run."""
    return {"project": run["project"], "run": run["name"]}


def _top(report: Told) -> Rows:
    yield {}, report


def _daemon(report: Told) -> Rows:
    yield {}, report["daemon"]


def _runs(report: Told) -> Rows:
    return ((of_run(run), run) for run in report["runs"])


def _ranks(report: Told) -> Rows:
    for run in report["runs"]:
        for rank in run["ranks"]:
            yield of_run(run) | {"rank": str(rank["rank"]), "incarnation": rank["incarnation"]}, rank


def _media(report: Told) -> Rows:
    return ((of_run(run), run["media"]) for run in report["runs"])


def _ledgers(report: Told) -> Rows:
    return ((of_run(run), run["ledger"]) for run in report["runs"])


def _backends(report: Told) -> Rows:
    for run in report["runs"]:
        for name, backend in run["backends"].items():
            yield of_run(run) | {"backend": name}, backend


def _backend_ledgers(report: Told) -> Rows:
    for run in report["runs"]:
        for name, row in run["ledger"]["backends"].items():
            yield of_run(run) | {"backend": name}, row


def _backend_stages(report: Told) -> Rows:
    for run in report["runs"]:
        for name, stages in run["backend_stages"].items():
            yield of_run(run) | {"backend": name}, {"stages": stages}


_RUN = ("project", "run")
_BACKEND = (*_RUN, "backend")

GROUPS = (
    Group("", (), _top, (Measure("busy", "1 while a rank is live or something is to be delivered"),)),
    Group("daemon", (), _daemon, (
        Measure("uptime_s", "since the daemon started"),
        Measure("rss_bytes", "memory of the daemon's process"),
        Measure("cpu_s", "of the daemon's process", total=True),
        Measure("runs", "that are open"),
        Measure("untaken_runs", "that ranks ask for in vain"),
        Measure("messages", "of clients and tools", total=True),
        Measure("received_bytes", "of messages", total=True),
        Measure("malformed", "messages that were refused", total=True),
        Measure("unroutable", "messages whose receiver had gone", total=True),
        Measure("connections", "of clients and tools, now"),
        Measure("connections_accepted", "of clients and tools, welcome or not", total=True),
        Measure("connections_refused", "of other users, and of keys that are not allowed", total=True),
        Measure("connections_failed", "that ended before their handshake was done", total=True),
        Measure("connections_cut", "that took memory or a place in silence, or whose key was revoked", total=True),
        Measure("connections_sent_away", "for which there was no room", total=True),
    )),
    Group("run", _RUN, _runs, (
        Measure("complete", "1 when nothing is open, pending or to be delivered"),
        Measure("journal_error", "1 while the journal refuses data"),
        Measure("journal_bytes", "on disk, after the last commit"),
        Measure("items", "of the journal's order: points, media, the end", total=True),
        Measure("late", "values that came after their step had closed", total=True),
        Measure("closed_early", "steps that a cap closed", total=True),
        Measure("facts_dropped", "values of params and summaries for which there was no room", total=True),
    )),
    Group("rank", (*_RUN, "rank", "incarnation"), _ranks, (
        Measure("step", "the highest that it has logged"),
        Measure("lag_steps", "behind the rank that leads"),
        Measure("records", "that came in", total=True),
        Measure("uncommitted_records", "that are not journaled yet"),
        Measure("lost_records", "that were deleted or spoiled before they were journaled", total=True),
        Measure("silent_s", "since it was heard"),
        Measure("log_p50_s", "what a call of log() takes, of those that were timed lately"),
        Measure("log_p99_s", "what the slowest of a hundred takes"),
    )),
    Group("media", _RUN, _media, (
        Measure("taken", "media items that came in", total=True),
        Measure("pending", "media items that wait to be encoded"),
        Measure("pending_bytes", "of their bodies"),
        Measure("stored_bytes", "of the run's media store"),
        Measure("error", "1 while media wait for something that fails"),
        Measure("dropped", "media items by why", total=True, by="cause"),
    )),
    Group("ledger", _RUN, _ledgers, (
        Measure("issued", "values given to log()", total=True),
        Measure("host", "of them, the daemon's own", total=True),
        Measure("journaled", "values that are safe", total=True),
        Measure("in_transit", "values that are not journaled yet"),
        Measure("dropped", "values by why", total=True, by="cause"),
    )),
    Group("ledger_backend", _BACKEND, _backend_ledgers, (
        Measure("delivered", "journaled values that the backend has"),
        Measure("pending", "journaled values that it lacks"),
        Measure("limited", "journaled values that it is not shown"),
        Measure("dead", "journaled values that it refused for good"),
        Measure("points", "that it has"),
    )),
    Group("backend", _BACKEND, _backends, (
        Measure("behind_items", "items of the run that it lacks"),
        Measure("held_values", "logged values that its rate limit holds"),
        Measure("retries", "since it last went well"),
        Measure("retry_in_s", "until it is tried again"),
        Measure("failures", "of calls, in this daemon's life", total=True),
        Measure("timeouts", "calls that took longer than delivery.timeout, in this daemon's life", total=True),
        Measure("dead_letters", "items that it refused for good, in this daemon's life", total=True),
        Measure("unsupported_items", "of kinds that it does not show, in this daemon's life", total=True),
        Measure("started_over", "how often it could not go on from where it was, in this daemon's life", total=True),
        Measure("call_s", "for how long the call of it has been going on that does"),
        Measure("narrowed_to_bytes", "what a cycle may send since it was throttled; 0: nothing limits it"),
        Measure("trouble", "1 while it tells of something that goes wrong"),
    )),
)  # fmt: skip

STAGED = (
    Group("daemon", (), _daemon, ()),
    Group("run", _RUN, _runs, ()),
    Group("backend", _BACKEND, _backend_stages, ()),
)
"""Where the report has `stages`, {stage: {calls, total_s, p50_s, p99_s}}: to Prometheus a summary each."""
