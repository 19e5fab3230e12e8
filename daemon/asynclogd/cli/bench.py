"""`asynclog bench`: what logging costs on this machine."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import sqlite3
import statistics
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich.progress import track
from rich.table import Table

from asynclogd import catalog, talk
from asynclogd.cli import render
from asynclogd.cli.options import arguments, daemon_options, runtime_of, runtime_option, settings
from asynclogd.cli.quantities import bytes_text
from asynclogd.cli.supervise import SupervisedDaemon
from asynclogd.cli.trialranks import Load, answers_of, go_on, running
from asynclogd.doors import prepare_runtime

NAMES = (10, 100, 1000)
WEEK_S = 7 * 86_400


@dataclass(frozen=True)
class Cost:
    """What it took: times of `log()` and `flush()`, CPU of a rank's other threads, the daemon's share of a core, the
    journal's bytes a value.
    """

    names: int
    log_p50_us: float
    log_p99_us: float
    share_of_step: float
    sender_us_a_row: float
    flush_ms: float
    daemon_cores: float
    journal_bytes_a_value: float
    journal_bytes_a_week: float
    dropped: int
    compiled: bool


@click.command()
@click.option(
    "--names", multiple=True, type=click.IntRange(1, 100_000), help="Metrics a row.  [default: 10, 100, 1000]"
)
@click.option("--ranks", type=click.IntRange(1, 256), default=2, show_default=True, help="Processes that log.")
@click.option(
    "--rate", type=click.FloatRange(0.1, 10_000), default=20.0, show_default=True, help="Rows a second, each."
)
@click.option("--seconds", type=click.FloatRange(0.1, 3600), default=3.0, show_default=True, help="For how long.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for scripts.")
@runtime_option
@daemon_options
def bench(
    names: tuple[int, ...],
    ranks: int,
    rate: float,
    seconds: float,
    as_json: bool,
    runtime_dir: Path | None,
    config: Path | None,
    backends: tuple[str, ...],
    durability: str | None,
    no_host_metrics: bool,
) -> None:
    """Measure what logging costs on this machine.

    \b
    asynclog bench                                  two ranks, 20 steps a second, rows of 10 to 1,000 metrics
    asynclog bench --ranks 8 --names 50 --rate 5    a training as yours
    asynclog bench --backend mlflow --durability fsync

    Processes log at a training's pace, through a daemon of their own and its backends, into a directory that is
    removed. Their loop sleeps for the rest of each step, as one does that waits for its GPU.
    """
    settings(config, backends, durability, no_host_metrics)  # an error in them is told before anything starts
    loads = [Load(each, ranks, rate, seconds) for each in names or NAMES]
    options = arguments(config, backends, durability, no_host_metrics)
    shown = track(loads, "measuring", console=render.console, transient=True, disable=as_json)
    costs = [measured(load, runtime_of(runtime_dir), options) for load in shown]
    if as_json:
        click.echo(json.dumps([asdict(cost) for cost in costs], indent=1))
    else:
        _show(costs, loads[0])


def measured(load: Load, runtime: Path, options: Sequence[str]) -> Cost:
    """The cost of one load, with a daemon of its own. Raises AsynclogError when that or a rank does not start."""
    with tempfile.TemporaryDirectory(prefix="asynclog-bench-") as folder:
        with _daemon(runtime, options) as daemon, running(load, daemon.endpoint, folder) as ranks:
            answers_of(ranks)
            before = _cpu_s(daemon)
            go_on(ranks)
            answers_of(ranks)
            cpu_s = _cpu_s(daemon) - before
            go_on(ranks)
            answers = [json.loads(answer) for answer in answers_of(ranks)]
        journal = sum(map(_content, catalog.find_runs(Path(folder))))
    return _cost(load, answers, cpu_s, journal)


def _cost(load: Load, answers: Sequence[Any], cpu_s: float, journal: int) -> Cost:
    times_us = sorted(ns / 1e3 for answer in answers for ns in answer["log_ns"])
    a_value = journal / sum((len(answer["log_ns"]) + 1 + len(answer["flush_ms"])) * load.names for answer in answers)
    p50 = statistics.median(times_us)
    sender_s = sum(answer["sender_s"] for answer in answers)
    return Cost(
        names=load.names,
        log_p50_us=p50,
        log_p99_us=times_us[round(0.99 * (len(times_us) - 1))],
        share_of_step=p50 * 1e-6 * load.rate,
        sender_us_a_row=sender_s * 1e6 / len(times_us),
        flush_ms=statistics.median(ms for answer in answers for ms in answer["flush_ms"]),
        daemon_cores=cpu_s / (load.steps / load.rate),
        journal_bytes_a_value=a_value,
        journal_bytes_a_week=a_value * load.names * load.ranks * load.rate * WEEK_S,
        dropped=sum(sum(answer["dropped"].values()) for answer in answers),
        compiled=all(answer["compiled"] for answer in answers),
    )


def _content(run_dir: Path) -> int:
    """Bytes of what a journal holds; its file has pages that are not full, as many in a short run as in a long one."""
    with contextlib.closing(sqlite3.connect(run_dir / catalog.JOURNAL)) as journal:
        lengths = "SELECT total(length(payload)) FROM inputs UNION ALL SELECT total(length(body)) FROM items"
        return int(sum(length for (length,) in journal.execute(lengths)))


# ---- processes ---------------------------------------------------------------------------------------------------


@contextmanager
def _daemon(runtime: Path, options: Sequence[str]) -> Iterator[SupervisedDaemon]:
    prepare_runtime(runtime)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=runtime) as folder:
        daemon = SupervisedDaemon(Path(folder), options)
        try:
            daemon.start()
            yield daemon
        finally:
            daemon.stop()


def _cpu_s(daemon: SupervisedDaemon) -> float:
    return float(talk.ask(daemon.endpoint)["daemon"]["cpu_s"])


# ---- the picture -------------------------------------------------------------------------------------------------


_COLUMNS = (
    "metrics\na row",
    "log()\np50",
    "\np99",
    "\nof a step",
    "\nflush()",
    "daemon,\nof a core",
    "journal\na value",
    "\na week",
)


def _show(costs: Sequence[Cost], load: Load) -> None:
    ranks = "one rank" if load.ranks == 1 else f"{load.ranks} ranks"
    render.console.print(
        f"{ranks}, {load.rate:g} rows a second each; {os.cpu_count()} cores, Python {platform.python_version()}"
    )
    table = Table(box=None, padding=(0, 1))
    for column in _COLUMNS:
        table.add_column(column, justify="right", no_wrap=True)
    for cost in costs:
        table.add_row(
            render.count(cost.names), f"{cost.log_p50_us:.1f} us", f"{cost.log_p99_us:.1f} us",
            f"{cost.share_of_step:.3%}", f"{cost.flush_ms:.0f} ms", f"{cost.daemon_cores:.1%}",
            f"{cost.journal_bytes_a_value:.1f} B", bytes_text(cost.journal_bytes_a_week),
        )  # fmt: skip
    render.console.print(table)
    beside = ", ".join(f"{cost.sender_us_a_row:.0f}" for cost in costs)
    render.console.print(
        f"a rank's other threads, its sender's above all, take {beside} us of CPU a row", soft_wrap=True
    )
    if not all(cost.compiled for cost in costs):
        render.console.print(
            "log() is not compiled here: it costs up to ten times as much. Install a wheel of your platform."
        )
    if dropped := sum(cost.dropped for cost in costs):
        render.console.print(
            f"[red]{render.count(dropped)} values were dropped:[/] this is more than this machine takes"
        )
