"""`asynclog replay`: a run, sent to a backend that it never had."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
from rich.markup import escape

from asynclog_proto.errors import ConfigError
from asynclogd import claim
from asynclogd.catalog import JOURNAL, locate, spool_of, title
from asynclogd.cli import render
from asynclogd.cli.adding import added, completed, handed_over
from asynclogd.cli.options import run_options, runtime_option
from asynclogd.cli.render import console, count
from asynclogd.cli.replaybar import POLL_SECONDS, STOPPED, ReplayBar
from asynclogd.config import load
from asynclogd.journal import Journal, JournalBusyError
from asynclogd.replay import Replay

HANDED_OVER = -1
"""No exit code yet: a daemon wants the run, and delivers the rest."""

STOP_SECONDS = 30.0
"""A backend that is stopped has so long to flush."""


@click.command()
@run_options
@click.option("--to", "name", required=True, metavar="BACKEND", help="wandb, mlflow, csv, ...; docs/backends.md")
@click.option("--option", "options", multiple=True, metavar="KEY=VALUE",
              help="An option of the backend; JSON where it is a list or a table. May be given again.")  # fmt: skip
@click.option("--since", type=int, metavar="STEP", help="Only points of this step and later.")
@click.option("--names", multiple=True, metavar="PATTERN", help="Only series like 'train/*'; may be given again.")
@click.option("--again", is_flag=True, help="Everything anew, to a backend that has lost what it had.")
@click.option("--patience", type=float, default=300.0, show_default=True,
              help="Seconds without progress after which to stop, when the backend fails.")  # fmt: skip
@click.option("--config", type=click.Path(path_type=Path), help="Settings as TOML, for the backend's options.")
@runtime_option
def replay(
    run: str,
    root: Path,
    name: str,
    options: tuple[str, ...],
    since: int | None,
    names: tuple[str, ...],
    again: bool,
    patience: float,
    config: Path | None,
    runtime_dir: Path | None,
) -> None:
    """Send RUN to a backend that it never had, from its journal, in full resolution.

    \b
    asynclog replay digits/run-7 --to wandb
    asynclog replay run-7 --to mlflow --option tracking_uri=http://mlflow:5000 --names 'val/*' --since 1000

    RUN is as for `asynclog show`. The backend becomes one of the run's: how far it has come is journaled, so the same
    command goes on where it stopped (Ctrl-C, a failure), and does nothing when all is there; --again is for a backend
    whose data somebody has removed, and sends all of it once more. A run that is going on, or
    is resumed meanwhile, is left to its daemon, which then delivers to the backend as well. Credentials are for the
    environment, as the backend's SDK names them; so are the SDK's other variables (WANDB_PROJECT,
    MLFLOW_TRACKING_URI) where no --option is given.

    Exit code 1 when the backend could not be given everything.
    """
    run_dir = locate(run, root)
    given = {**load(config, os.environ, {}).backends.get(name, {}), **dict(map(option, options))}
    given |= {"names": list(names)} if names else {}
    given |= {"since": since} if since is not None else {}
    if not (run_dir / JOURNAL).is_file():
        raise ConfigError(f"{title(run_dir)} was never journaled: asynclog sync {run_dir}")
    try:
        journal = Journal.open(run_dir / JOURNAL)
    except JournalBusyError:
        if again:
            text = f"{title(run_dir)} is open, and --again needs it to itself: when the run is over"
            raise ConfigError(f"{text}, or after an asynclog daemon has let go of it") from None
        raise SystemExit(added(run_dir, name, completed(name, given, new=True), patience, runtime_dir)) from None
    if spool_of(run_dir) or any(stream.state == "live" for stream in journal.streams()):
        text = f"[yellow]what its ranks left is not taken up yet, and not sent; first:[/] asynclog sync {run_dir}"
        console.print(text, soft_wrap=True)
    claim.lift(run_dir)  # an old one: who lays it now lays it again
    given = completed(name, given, new=name not in journal.facts().get("backends", {}))
    code, agreed = _replay(run_dir, journal, name, given, patience, again=again)
    if code == HANDED_OVER:
        code = handed_over(run_dir, name, agreed, patience, runtime_dir)
    raise SystemExit(code)


def option(text: str) -> tuple[str, Any]:
    """KEY=VALUE as key and value; a list, a table, true and null are JSON. Raises ConfigError."""
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise ConfigError(f"--option {text!r}: it is KEY=VALUE, like project=digits")
    if value[:1] not in ("[", "{") and value not in ("true", "false", "null"):
        return key, value
    try:
        return key, json.loads(value)
    except json.JSONDecodeError as error:
        raise ConfigError(f"--option {key}: {value!r} is not JSON: {error}") from error


def _replay(
    run_dir: Path, journal: Journal, name: str, given: Mapping[str, Any], patience: float, *, again: bool
) -> tuple[int, Mapping[str, Any]]:
    """The exit code, and the options that the backend has."""
    with ExitStack() as stack:
        stack.callback(journal.close)
        replay, begun = Replay(run_dir, journal, name, given, again=again), journal.cursor(name)
        if not again and begun is not None and begun.offset >= replay.total:
            text = f"{name} has all of {title(run_dir)} already: {count(begun.points)} points"
            console.print(escape(text), soft_wrap=True)
            return 0, replay.options
        replay.start()
        code, why = _until_done(replay, run_dir, name, patience)
        try:
            let_go = replay.stop(patience if not code else STOP_SECONDS, drain=not code)
        except KeyboardInterrupt:
            let_go = False
        if not let_go:
            stack.pop_all()  # the sink's thread may still commit: the journal goes with the process
    _tell(run_dir, name, replay)
    if code == HANDED_OVER and not let_go:
        code, why = 1, f"a daemon wants the run, and {name} has not let go of it in {STOP_SECONDS:g} s"
    if why:
        same = "the same command without --again" if again else "the same command"
        console.print(f"[red]{escape(why)}[/]; {same} goes on", soft_wrap=True)
    return code, replay.options


def _until_done(replay: Replay, run_dir: Path, name: str, patience: float) -> tuple[int, str]:
    """The exit code and why the backend has not got everything, "" when it has or its daemon sees to that."""
    try:
        why = _follow(replay, run_dir, name, patience)
    except KeyboardInterrupt:
        return STOPPED, "stopped"
    if not why and not replay.done:
        return HANDED_OVER, ""
    return (1, why) if why else (0, "")


def _follow(replay: Replay, run_dir: Path, name: str, patience: float) -> str:
    """Wait for the end, with a bar, or until a daemon wants the run. Why neither comes, "" when it has come."""
    moved, offset = time.monotonic(), replay.status.cursor.offset
    with ReplayBar(name, replay.total) as bar:
        while not replay.done and not claim.lies(run_dir):
            status, now = replay.status, time.monotonic()
            bar.show(status.cursor.offset, status.error if status.retries else "")
            if status.cursor.offset != offset or not status.retries:
                moved, offset = now, status.cursor.offset
            if status.state == "broken":
                return status.error
            if now - moved > patience:
                return f"no progress for {patience:g} s: {status.error}"
            time.sleep(POLL_SECONDS)
    return ""


def _tell(run_dir: Path, name: str, replay: Replay) -> None:
    cursor, unsupported = replay.status.cursor, replay.status.unsupported
    limited = f", {count(cursor.limited)} limited" if cursor.limited else ""
    dead = f", [red]{count(cursor.dead)} refused for good[/]" if cursor.dead else ""
    values = f"{count(cursor.delivered)} values as {count(cursor.points)} points{limited}{dead}"
    part = "" if replay.done else f" (items {count(cursor.offset)} of {count(replay.total)})"
    console.print(f"{escape(name)} has of {escape(title(run_dir))}: {values}{part}", soft_wrap=True)
    if unsupported:
        console.print(f"  {count(unsupported)} items are of kinds that it does not show", soft_wrap=True)
    render.where_to_look(str(run_dir), replay.looks)
