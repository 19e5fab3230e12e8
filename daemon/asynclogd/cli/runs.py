"""`asynclog runs`: which runs there are."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from asynclogd.catalog import default_dir, find_runs
from asynclogd.cli.quantities import ago, bytes_text
from asynclogd.cli.render import console, count
from asynclogd.overview import Overview, look

LOOKS = {"running": "green", "success": "", "failed": "red", "unreadable": "red"}


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON, a list with an object a run.")
def runs(directory: Path | None, as_json: bool) -> None:
    """List the runs below DIRECTORY, latest last.  [default: $ASYNCLOG_DIR or ./asynclog]

    \b
    asynclog runs
    asynclog runs /data/logs --json | jq -r '.[] | select(.status == "unfinished") | .dir'

    A backend with "-120" has yet to be given 120 items; `asynclog sync` delivers to all of them. SIZE is that of
    journal, media and spool, which `asynclog gc` removes; POINTS are those in the backend that has most.
    """
    root = directory or default_dir(os.environ)
    found = sorted((look(run) for run in find_runs(root.absolute())), key=lambda run: (run.active, run.dir))
    if as_json:
        click.echo(json.dumps([plain(run) for run in found], indent=2))
    elif not found:
        console.print(f"there are no runs below {root}", soft_wrap=True)
    else:
        _print(found)


def plain(run: Overview) -> dict[str, Any]:
    """A run as JSON has it."""
    return {
        "project": run.project,
        "name": run.name,
        "dir": str(run.dir),
        "status": run.status,
        "complete": run.complete,
        "error": run.error,
        "world": run.world,
        "generations": run.generations,
        "step": run.step,
        "points": run.points,
        "values": run.ledger.get("journaled", 0),
        "active": run.active,
        "bytes": run.kept,
        "spooled_bytes": run.spooled,
        "backends": {name: {"behind_items": behind} for name, behind in run.behind.items()},
    }


def _print(found: Sequence[Overview]) -> None:
    table = Table(box=None, padding=(0, 1))
    table.add_column("run", no_wrap=True)  # to be copied
    table.add_column("status", overflow="fold")
    for title in ("ranks", "step", "points", "size", "active"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("backends", overflow="fold", min_width=8)
    now = time.time()
    for run in found:
        table.add_row(
            f"{escape(run.project)}/[bold]{escape(run.name)}[/]",
            status_text(run),
            str(run.world or ""),
            "" if run.step is None else count(run.step),
            count(run.points) if run.points else "",
            bytes_text(run.kept),
            ago(now - run.active),
            backends_text(run),
        )
    console.print(table)
    for run in found:
        if run.error:
            console.print(f"[red]{escape(run.name)} can't be read:[/] {escape(run.error)}", soft_wrap=True)


def status_text(run: Overview) -> str:
    """The status, coloured; a finished run of which something is not delivered says so."""
    look = LOOKS.get(run.status, "yellow")
    text = f"[{look}]{run.status}[/]" if look else run.status
    return f"{text}, [yellow]pending[/]" if run.ended and run.pending else text


def backends_text(run: Overview) -> str:
    """The backends, each with how far it is behind."""
    names = [f"{escape(name)} [yellow]-{count(behind)}[/]" if behind else escape(name)
             for name, behind in run.behind.items()]  # fmt: skip
    spooled = [f"[yellow]spool {bytes_text(run.spooled)}[/]"] if run.spooled else []
    return ", ".join(names + spooled)
