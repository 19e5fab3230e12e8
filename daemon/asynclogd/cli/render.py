"""Reports as tables for a person."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from asynclog_proto import places
from asynclogd.cli import trouble

WIDE = 160
"""Columns of what goes into a pipe or a file, where names are searched for: they stay whole."""

_given = sys.stdout.isatty() or "COLUMNS" in os.environ
console = Console(highlight=False, width=None if _given else WIDE)


def count(number: int) -> str:
    """A count as people read it."""
    return f"{number:,}"


def status(report: Mapping[str, Any]) -> None:
    """The whole report of one daemon."""
    daemon = report["daemon"]
    console.print(
        f"[bold]daemon[/] {daemon['version']}, pid {daemon['pid']}, up {daemon['uptime_s']:.0f} s, "
        f"{daemon['rss_bytes'] / 2**20:.0f} MiB, {daemon['cpu_s']:.1f} s of CPU"
    )
    console.print(f"  {daemon['endpoint']}", soft_wrap=True)
    stages(daemon.get("stages", {}))
    if not report["runs"]:
        console.print("no run is open")
    for run in report["runs"]:
        _run(run)
    for path, reason in report.get("untaken_runs", {}).items():
        console.print(f"[red]can't be taken:[/] {escape(path)}: {escape(reason)}", soft_wrap=True)


def _run(run: Mapping[str, Any]) -> None:
    console.print(f"\n[bold]{run['project']}/{run['name']}[/]  {run['dir']}", soft_wrap=True)
    if run["journal_error"]:
        console.print(f"[red]the journal refuses data: {run['journal_error']}[/]")
    ranks(run["ranks"])
    _media(run["media"])
    ledger(run["ledger"], run["backends"])
    delivery = {
        f"{backend} {stage}": took
        for backend, each in run.get("backend_stages", {}).items()
        for stage, took in each.items()
    }
    stages({**_costliest_log(run["ranks"]), **run.get("stages", {}), **delivery})


def _costliest_log(ranks: Sequence[Mapping[str, Any]]) -> dict[str, Mapping[str, float]]:
    """What log() costs the rank that it costs most, as a stage; none when no rank has told."""
    told = [rank for rank in ranks if rank.get("log_p99_s") is not None]
    if not told:
        return {}
    rank = max(told, key=lambda each: each["log_p99_s"])
    return {f"log() of rank {rank['rank']}": {"p50_s": rank["log_p50_s"], "p99_s": rank["log_p99_s"]}}


def stages(stages: Mapping[str, Mapping[str, float]]) -> None:
    """How long each stage takes; a daemon of before has none."""
    if not stages:
        return
    table = Table(box=None, padding=(0, 1))
    table.add_column("stage", no_wrap=True)
    for title in ("calls", "p50", "p99"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, took in stages.items():
        calls = count(int(took["calls"])) if "calls" in took else ""
        table.add_row(name, calls, _short(took["p50_s"]), _short(took["p99_s"]))
    console.print(table)


def _short(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:,.1f} {unit}"
    return f"{seconds * 1e6:.1f} us"


def ranks(streams: Sequence[Mapping[str, Any]]) -> None:
    """The ranks of a run that a daemon has open, and those that are in trouble."""
    table = Table(box=None, padding=(0, 1))
    for title in ("rank", "state", "host", "pid", "step", "lag", "records", "silent for"):
        table.add_column(title, no_wrap=True)
    for rank in streams:
        silent = "" if rank["silent_s"] is None else f"{rank['silent_s']} s"
        step, lag = ("", "") if rank["step"] < 0 else (count(rank["step"]), count(rank["lag_steps"]))
        table.add_row(
            f"{rank['rank']} of {rank['world_size']}", rank["state"], rank["host"], str(rank["pid"]), step, lag,
            count(rank["records"]), silent,
        )  # fmt: skip
    console.print(table)
    troubled_ranks(streams)


def _media(media: Mapping[str, Any]) -> None:
    if not media["taken"]:
        return
    console.print(
        f"media {count(media['taken'])}: {count(media['pending'])} pending ({_size(media['pending_bytes'])}), "
        f"{_size(media['stored_bytes'])} stored"
    )
    if media["error"]:
        console.print(f"[red]media wait:[/] {escape(media['error'])}", soft_wrap=True)
    for reason, number in media["refused"].items():
        console.print(f"[red]{count(number)} refused:[/] {escape(reason)}", soft_wrap=True)


def _size(number: int) -> str:
    return f"{number / 2**20:,.1f} MiB"


def troubled_ranks(ranks: Sequence[Mapping[str, Any]]) -> None:
    """A line for each rank that died, was refused or has lost records."""
    for rank in ranks:
        if rank.get("lost_records"):
            console.print(
                f"[red]rank {rank['rank']}: {count(rank['lost_records'])} records are lost[/]: what held them was "
                "deleted or spoiled before they were journaled here",
                soft_wrap=True,
            )
        if rank["state"] == "dead":
            console.print(f"[red]rank {rank['rank']} died[/] without finish(), after step {rank['step']}")
        elif rank["state"] == "refused":
            console.print(f"[red]rank {rank['rank']} was refused:[/] {rank['reason']}")


def ledger(ledger: Mapping[str, Any], backends: Mapping[str, Any] | None = None) -> None:
    """The ledger of a run: every logged value accounted for."""
    dropped = ", ".join(f"{cause} {count(n)}" for cause, n in ledger["dropped"].items()) or "none"
    host = f" ({count(ledger['host'])} of them system/* of this host)" if ledger["host"] else ""
    console.print(
        f"values issued {count(ledger['issued'])}{host} = journaled {count(ledger['journaled'])} "
        f"+ in transit {count(ledger['in_transit'])} + dropped {count(sum(ledger['dropped'].values()))} ({dropped})"
    )
    table = Table(box=None, padding=(0, 1))
    table.add_column("backend", no_wrap=True)
    for title in ("delivered", "pending", "limited", "dead", "points"):
        table.add_column(title, justify="right", no_wrap=True)
    for name, row in ledger["backends"].items():
        table.add_row(name, *(count(row[key]) for key in ("delivered", "pending", "limited", "dead", "points")))
    console.print(table)
    for line in trouble.lines(backends or {}):
        console.print(line, soft_wrap=True)


def where_to_look(run_dir: str, looks: Mapping[str, str]) -> None:
    """The commands that show a run's content, and the places where it is, by backend."""
    shown, here = Path(run_dir), places.current_directory()
    if here is not None and shown.is_relative_to(here):
        shown = shown.relative_to(here)
    for look in looks.values():
        console.print(f"  {escape(look.replace(run_dir, str(shown)))}", soft_wrap=True)


def ended_run(run: Mapping[str, Any]) -> None:
    """What became of a run, as its daemon reported it last: its troubled ranks, its ledger, and where to look."""
    console.print(f"\n[bold]asynclog[/] {run['dir']}", soft_wrap=True)
    troubled_ranks(run.get("ranks", ()))
    ledger(run["ledger"], run["backends"])
    where_to_look(run["dir"], run["looks"])
