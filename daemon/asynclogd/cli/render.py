"""Reports as tables for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from asynclogd.cli import trouble

console = Console(highlight=False)


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


LOOK = {
    "tensorboard": ("tensorboard", "tensorboard --logdir {}"),
    "csv": ("csv/metrics.csv", "column -s, -t {} | less -S"),
    "jsonl": ("jsonl/points.jsonl", "less {}"),
    "mlflow": ("mlflow/mlflow.db", "mlflow ui --backend-store-uri sqlite:///{}"),
}
"""What shows a backend's files, where they are where they usually are."""


def where_to_look(run_dir: str, backends: Mapping[str, Any]) -> None:
    """The commands that show a run's content."""
    shown = Path(run_dir)
    if shown.is_relative_to(Path.cwd()):
        shown = shown.relative_to(Path.cwd())
    for name in backends:
        file, command = LOOK.get(name, ("", ""))
        if command and (shown / file).exists():
            console.print(f"  {command.format(shown / file)}", soft_wrap=True)


def ended_run(
    run_dir: str,
    balance: Mapping[str, Any],
    backends: Mapping[str, Any],
    ranks: Sequence[Mapping[str, Any]] = (),
) -> None:
    """What became of a run: its troubled ranks, its ledger, and where to look."""
    console.print(f"\n[bold]asynclog[/] {run_dir}", soft_wrap=True)
    troubled_ranks(ranks)
    ledger(balance, backends)
    where_to_look(run_dir, balance["backends"])
