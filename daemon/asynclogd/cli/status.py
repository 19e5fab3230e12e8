"""`asynclog status`: what the daemon does."""

from __future__ import annotations

import json
import os
from pathlib import Path

import click

from asynclog_proto import places
from asynclogd import talk
from asynclogd.cli import render
from asynclogd.cli.options import runtime_of, runtime_option


@click.command()
@runtime_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def status(runtime_dir: Path | None, as_json: bool) -> None:
    """Show runs, ranks, lag, queues, backends and the ledger of the daemons of this user."""
    runtime = runtime_of(runtime_dir)
    if runtime_dir is None and "ASYNCLOG_ENDPOINT" in os.environ:
        runtime = places.runtime_of(os.environ["ASYNCLOG_ENDPOINT"])
    found = []
    for directory in [runtime, *sorted(runtime.glob("run-*"))]:
        if (directory / "daemon.sock").exists():
            try:
                found.append(talk.ask(places.endpoint(directory)))
            except talk.NoDaemonError as error:
                click.echo(f"asynclog: {error} (its socket is there: it has died or is busy)", err=True)
    if as_json:
        click.echo(json.dumps(found, indent=2))
    elif not found:
        click.echo(f"No daemon is running in {runtime}. The first init() in a training starts one.")
    for report in [] if as_json else found:
        render.status(report)
    if not found:
        raise SystemExit(1)
