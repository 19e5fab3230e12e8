"""The daemons of this user, as a tool finds them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from asynclog_proto import places
from asynclogd import talk
from asynclogd.cli.options import runtime_of


def runtimes(runtime_dir: Path | None) -> list[Path]:
    """The runtime directories that a daemon may serve: the given one or the environment's, and those of
    `asynclog run` in it.
    """
    runtime = runtime_of(runtime_dir)
    endpoint = os.environ.get("ASYNCLOG_ENDPOINT", "")
    if runtime_dir is None and endpoint and not places.is_remote(endpoint):
        runtime = places.runtime_of(endpoint)
    return [runtime, *sorted(runtime.glob("run-*"))]


def reports(runtime_dir: Path | None) -> Iterator[tuple[str, dict[str, Any]]]:
    """Endpoint and report of each daemon that answers; one that does not is told of."""
    afar = os.environ.get("ASYNCLOG_ENDPOINT", "")
    if runtime_dir is None and places.is_remote(afar):
        yield afar, talk.ask(afar)
    for directory in runtimes(runtime_dir):
        if (directory / "daemon.sock").exists():
            endpoint = places.endpoint(directory)
            try:
                yield endpoint, talk.ask(endpoint)
            except talk.NoDaemonError as error:
                click.echo(f"asynclog: {error} (its socket is there: it has died or is busy)", err=True)


def owner(run_dir: Path, runtime_dir: Path | None) -> tuple[str, dict[str, Any]] | None:
    """The endpoint of the daemon that has a run open, and what it says of the run."""
    for endpoint, report in reports(runtime_dir):
        for run in report["runs"]:
            if _same(Path(run["dir"]), run_dir):
                return endpoint, run
    return None


def _same(path: Path, other: Path) -> bool:
    try:
        return path == other or path.samefile(other)
    except OSError:
        return False
