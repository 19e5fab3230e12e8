"""`asynclog run`: a training command with a daemon beside it."""

from __future__ import annotations

import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from asynclogd import talk
from asynclogd.cli import render
from asynclogd.cli.drain import POLL_SECONDS, DrainProgress
from asynclogd.cli.options import arguments, daemon_options, runtime_of, runtime_option, settings
from asynclogd.cli.supervise import SupervisedDaemon, run_child
from asynclogd.doors import prepare_runtime

NOT_FOUND, NOT_EXECUTABLE = 127, 126


@click.command(context_settings={"ignore_unknown_options": False, "allow_interspersed_args": False})
@click.option("--name", metavar="NAME", help="Name of the run for every init() that gives none.")
@click.option("--dir", "directory", type=click.Path(path_type=Path), help="Directory of all runs (ASYNCLOG_DIR).")
@click.option("--drain-timeout", type=float, default=300.0, show_default=True, help="Seconds to wait for backends.")
@runtime_option
@daemon_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def run(
    name: str | None,
    directory: Path | None,
    drain_timeout: float,
    runtime_dir: Path | None,
    config: Path | None,
    backends: tuple[str, ...],
    durability: str | None,
    no_host_metrics: bool,
    command: tuple[str, ...],
) -> None:
    """Run COMMAND with a daemon beside it.

    \b
    asynclog run -- torchrun --nproc-per-node 2 train.py
    asynclog run --backend tensorboard --backend mlflow --name lr-3e-4 -- python train.py

    The daemon is COMMAND's own: its address goes to every process in ASYNCLOG_ENDPOINT, it is started again if it
    dies, and once COMMAND has ended it delivers what is left (shown), prints the ledger and where to look, and
    ends. Signals are forwarded. The exit code is COMMAND's.
    """
    settings(config, backends, durability, no_host_metrics)  # an error in them is told before anything starts
    runtime = runtime_of(runtime_dir) / f"run-{os.getpid()}"
    prepare_runtime(runtime.parent)
    prepare_runtime(runtime)
    daemon = SupervisedDaemon(runtime, arguments(config, backends, durability, no_host_metrics))
    daemon.start()
    environ = {**os.environ, "ASYNCLOG_ENDPOINT": daemon.endpoint}
    if name is not None:
        environ["ASYNCLOG_NAME"] = name
    if directory is not None:
        environ["ASYNCLOG_DIR"] = str(directory)
    try:
        code = run_child(command, environ, daemon)
        started = True
    except OSError as error:
        click.echo(f"asynclog: {command[0]}: {error.strerror}", err=True)
        code = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_EXECUTABLE
        started = False
    _finish(daemon, drain_timeout, started=started)
    sys.exit(code)


def _finish(daemon: SupervisedDaemon, timeout: float, *, started: bool) -> None:
    runs: dict[str, Mapping[str, Any]] = {}
    try:
        done = _drain(daemon, runs, timeout)
    except KeyboardInterrupt:
        done = False
    daemon.stop()
    for run in runs.values():
        render.ended_run(run)
    if daemon.restarts:
        times = "once" if daemon.restarts == 1 else f"{daemon.restarts} times"
        render.console.print(f"the daemon died and was started again {times}; its log: {daemon.log}", soft_wrap=True)
    if not runs and started:
        render.console.print("asynclog: no run came to this daemon. Does the command call asynclog.init()?")
    rings = list((daemon.runtime / "rings").glob("*.ring"))
    for ring in rings:
        render.console.print(f"[yellow]this ring could not be delivered and is kept:[/] {ring}", soft_wrap=True)
    for path in [] if done else runs:
        render.console.print(
            f"[yellow]not everything is delivered; go on with:[/] asynclog sync {path}", soft_wrap=True
        )
    if done and not rings and not daemon.restarts:
        shutil.rmtree(daemon.runtime, ignore_errors=True)


def _drain(daemon: SupervisedDaemon, runs: dict[str, Mapping[str, Any]], timeout: float) -> bool:
    """Wait until the daemon has delivered all; fills `runs` with the last report of each."""
    deadline = time.monotonic() + timeout
    with DrainProgress() as progress:
        while time.monotonic() < deadline:
            daemon.watch()
            try:
                report = talk.ask(daemon.endpoint)
            except talk.NoDaemonError:
                continue
            runs.update({run["dir"]: run for run in report["runs"]})
            for path, last in report["closed_runs"].items():
                runs[path] = {
                    **runs.get(path, {"dir": path, "name": Path(path).name, "backends": {}}),
                    **last,
                }
            progress.show(list(runs.values()))
            if not report["busy"]:
                return True
            time.sleep(POLL_SECONDS)
    return False
