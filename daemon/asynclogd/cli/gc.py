"""`asynclog gc`: retention."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import click
from rich.markup import escape
from rich.table import Table

from asynclog_proto.errors import AsynclogError, ConfigError
from asynclogd.catalog import default_dir, find_runs
from asynclogd.cli.daemons import runtimes
from asynclogd.cli.quantities import ago, bytes_text, duration, size
from asynclogd.cli.render import console, count
from asynclogd.config import Retention, load
from asynclogd.living import sign_of_life
from asynclogd.overview import Overview, look
from asynclogd.removal import remove
from asynclogd.retention import Verdict, bound, judge

T = TypeVar("T")


@click.command()
@click.argument("directory", type=click.Path(exists=True, file_okay=False, path_type=Path), required=False)
@click.option("--older-than", type=duration, metavar="AGE", help="Runs that were active last so long ago: 30d, 12h.")
@click.option(
    "--keep-size", type=size, metavar="SIZE", help="The oldest runs, until the rest take at most so much: 50G."
)
@click.option("--all", "everything", is_flag=True, help="The directories of their backends too: event files, CSV.")
@click.option("--force", is_flag=True, help="Runs of which something is not delivered too; it says what is lost.")
@click.option("--config", type=click.Path(path_type=Path), help="Settings as TOML, for what may go: [retention].")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
def gc(
    directory: Path | None,
    older_than: float | None,
    keep_size: int | None,
    everything: bool,
    force: bool,
    config: Path | None,
    dry_run: bool,
) -> None:
    """Remove journals, media and spools of finished runs below DIRECTORY.  [default: $ASYNCLOG_DIR or ./asynclog]

    \b
    asynclog gc --older-than 30d --dry-run
    asynclog gc /data/logs --keep-size 50G
    asynclog gc --config asynclog.toml

    Without AGE and SIZE, [retention] of the settings says what may go (or ASYNCLOG_RETENTION_OLDER_THAN, _KEEP_SIZE).

    Event files, CSV and what else backends wrote stay, but without its journal a run can't be shown, replayed or
    exported, and what refers to media (csv, jsonl) refers to nothing. A run that is going on is never touched, and one
    of which a backend lacks something only with --force. SIZE counts journals, media and spools of those that
    may go. What a training put beside them, checkpoints say, always stays.

    Exit code 1 when something could not be removed.
    """
    if older_than is None and keep_size is None:
        older_than, keep_size = _settled(load(config, os.environ, {}).retention)
    if older_than is None and keep_size is None:
        raise click.UsageError(
            "say what may go: --older-than 30d, --keep-size 50G, or both, or [retention] in --config"
        )
    root = directory or default_dir(os.environ)
    rings = [runtime / "rings" for runtime in runtimes(None)]
    runs = [_seen(run, rings) for run in find_runs(root.absolute())]
    verdicts = judge(runs, time.time(), older_than, keep_size, force=force)
    failed = {} if dry_run else _remove(verdicts, rings, everything=everything)
    _print(verdicts, failed, "would go" if dry_run else "removed")
    gone = [verdict.run for verdict in verdicts if not verdict.kept and verdict.run.dir not in failed]
    left = sum(run.kept for run in runs) - sum(run.kept for run in gone)
    console.print(
        f"{count(len(gone))} of {count(len(runs))} runs {'would be' if dry_run else 'are'} removed, "
        f"{bytes_text(sum(run.kept for run in gone))}; what stays keeps {bytes_text(left)}"
    )
    if keep_size is not None and (stuck := bound(runs, force=force)):
        console.print(f"{bytes_text(stuck)} of it must stay, and does not count for --keep-size")
    raise SystemExit(1 if failed else 0)


def _settled(retention: Retention) -> tuple[float | None, int | None]:
    """The limits that the settings have. Raises ConfigError."""
    return (
        _parsed("older_than", retention.older_than, duration),
        _parsed("keep_size", retention.keep_size, size),
    )


def _parsed(key: str, text: str, parse: Callable[[str], T]) -> T | None:
    try:
        return parse(text) if text else None
    except click.BadParameter as error:
        raise ConfigError(f"retention.{key}: {error.message}") from error


def _seen(run_dir: Path, rings: list[Path]) -> Overview:
    """A run, and whether a rank of it lives."""
    seen = look(run_dir)
    return replace(seen, alive=sign_of_life(run_dir, seen.streams, rings))


def _remove(verdicts: list[Verdict], rings: list[Path], *, everything: bool) -> dict[Path, str]:
    """Why runs could not be removed."""
    failed = {}
    for verdict in verdicts:
        if not verdict.kept:
            try:
                remove(verdict.run.dir, _subdirs(verdict.run) if everything else (), rings)
            except (AsynclogError, OSError) as error:
                failed[verdict.run.dir] = str(error)
    return failed


def _subdirs(run: Overview) -> list[str]:
    """The directories of a run's backends; one that writes beside others, in the run's own, has none."""
    backends = run.facts.get("backends", {})
    found = {(options or {}).get("subdir", name) for name, options in backends.items()}
    return sorted(found - {"."})


def _print(verdicts: list[Verdict], failed: dict[Path, str], done: str) -> None:
    table = Table(box=None, padding=(0, 1))
    table.add_column("run", overflow="fold")
    for title in ("size", "active"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    now = time.time()
    for verdict in verdicts:
        run, lost = verdict.run, f", [red]and with it {escape(verdict.lost)}[/]" if verdict.lost else ""
        fate = f"{done}: {verdict.reason}{lost}"
        if verdict.kept:
            fate = f"[yellow]stays:[/] {escape(verdict.kept)}"
        elif run.dir in failed:
            fate = f"[red]could not be removed:[/] {escape(failed[run.dir])}"
        table.add_row(f"{escape(run.project)}/{escape(run.name)}", bytes_text(run.kept), ago(now - run.active), fate)
    if verdicts:
        console.print(table)
