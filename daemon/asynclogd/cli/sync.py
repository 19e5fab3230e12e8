"""`asynclog sync`: deliver what lies around."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from asynclog_proto import places
from asynclog_proto.errors import AsynclogError
from asynclogd import recovery
from asynclogd.catalog import find_runs
from asynclogd.cli import render
from asynclogd.cli.drain import POLL_SECONDS, DrainProgress
from asynclogd.cli.options import daemon_options, runtime_of, runtime_option, settings
from asynclogd.config import Config
from asynclogd.doors import keep_writers_out, prepare_runtime
from asynclogd.hub import Hub
from asynclogd.report import run_report


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--timeout", type=float, default=600.0, show_default=True, help="Seconds to wait for backends.")
@runtime_option
@daemon_options
def sync(
    directory: Path,
    timeout: float,
    runtime_dir: Path | None,
    config: Path | None,
    backends: tuple[str, ...],
    durability: str | None,
    no_host_metrics: bool,
) -> None:
    """Deliver every run under DIRECTORY that was logged offline, interrupted or left behind by a crash.

    Reads spools, the rings of dead processes and unfinished journals; safe to call again. A run that a daemon has
    open is left to it. Exit code 1 when something could not be delivered.
    """
    merged = settings(config, backends, durability, no_host_metrics, bind="")  # whoever says so takes up everything
    runtime = runtime_of(runtime_dir)
    keep_writers_out()
    prepare_runtime(runtime)
    directory = directory.absolute()
    rings = [ring for ring in sorted(runtime.glob("**/*.ring")) if _belongs(ring, directory)]
    rings += sorted(directory.glob("**/rings/*.ring"))
    runs = find_runs(directory)
    if not runs and not rings:
        render.console.print(f"nothing to deliver under {directory}")
        return
    complete = asyncio.run(_sync(rings, runs, runtime, merged, timeout, own_backends=bool(backends)))
    raise SystemExit(0 if complete else 1)


async def _sync(
    rings: list[Path], runs: list[Path], runtime: Path, config: Config, timeout: float, *, own_backends: bool
) -> bool:
    own = runtime / f"sync-{os.getpid()}"
    prepare_runtime(own)
    hub = Hub(own, config, lambda *_: None, own_backends=own_backends)
    before = {path: await _opened(hub, path) for path in runs}
    await hub.rounds.recover(rings, runs)
    await hub.rounds.bury_unheard()
    try:
        done = await _drain(hub, timeout)
    finally:
        reports = [run_report(run) for run in hub.runs.values()]
        idle = {str(path) for path, run in hub.runs.items() if before.get(path) == run.outcome.journaled}
        await hub.close(config.daemon.drain_timeout)
    refused = [rank for run in reports for rank in run["ranks"] if rank["state"] == "refused"]
    for run in reports:
        if run["dir"] not in idle:
            taken = [rank for rank in run["ranks"] if rank not in refused]
            render.ended_run({**run, **hub.closed_runs[run["dir"]], "ranks": taken})
    if idle:
        render.console.print(f"{len(idle)} of {len(reports)} runs had nothing left to deliver")
    for run in filter(_is_refused, reports):
        text = f"[red]the journal of {run['dir']} refuses data, what ranks left stays:[/] {run['journal_error']}"
        render.console.print(text, soft_wrap=True)
    for rank in refused:
        render.console.print(f"[red]rank {rank['rank']} is refused, its data stay:[/] {rank['reason']}")
    if done:
        shutil.rmtree(own)
    for path in sorted(hub.given_up):
        render.console.print(f"[red]could not be taken up and stays:[/] {path}", soft_wrap=True)
    return done and not refused and not hub.given_up and len(reports) >= len(runs)


async def _opened(hub: Hub, path: Path) -> int | None:
    """How many values a run had journaled when everything of it had been delivered already; None otherwise."""
    try:
        run = await hub.open_run(path)
    except (AsynclogError, OSError):
        return None  # recovering will say why
    return run.outcome.journaled if run.complete and run.last_offset else None


def _belongs(ring: Path, directory: Path) -> bool:
    try:
        left = recovery.read_ring(ring)
    except (AsynclogError, OSError):
        return False
    if left is None:
        return False
    run_dir = places.run_dir(left.hello.dir, left.hello.project, left.hello.name)
    return run_dir.is_relative_to(directory)


def _is_refused(report: Mapping[str, Any]) -> bool:
    """Whether a run's journal takes no more of what ranks left, and backends have what is in it."""
    behind = any(backend["behind_items"] for backend in report["backends"].values())
    return bool(report["journal_error"]) and not report["complete"] and not behind


async def _drain(hub: Hub, timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    with DrainProgress() as progress:
        while hub.busy and time.monotonic() < deadline:
            reports = [run_report(run) for run in hub.runs.values()]
            progress.show(reports)
            if any(map(_is_refused, reports)) and all(each["complete"] or _is_refused(each) for each in reports):
                break  # nobody here makes room
            await asyncio.sleep(POLL_SECONDS)
    return not hub.busy
