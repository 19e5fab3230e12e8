"""`asynclog status`: what the daemon does."""

from __future__ import annotations

import json
from pathlib import Path

import click

from asynclogd.cli import daemons, render
from asynclogd.cli.options import runtime_option


@click.command()
@runtime_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def status(runtime_dir: Path | None, as_json: bool) -> None:
    """Show runs, ranks, lag, queues, backends and the ledger of the daemons of this user."""
    found = [report for _, report in daemons.reports(runtime_dir)]
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not found:
        click.echo(
            f"No daemon is running in {daemons.runtimes(runtime_dir)[0]}. The first init() in a training starts one."
        )
    for report in [] if as_json else found:
        render.status(report)
    if not found:
        raise SystemExit(1)
