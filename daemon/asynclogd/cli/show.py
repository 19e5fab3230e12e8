"""`asynclog show`: one run, its final numbers, its ranks and its ledger."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.markup import escape
from rich.table import Table

from asynclogd.catalog import JOURNAL, locate
from asynclogd.cli import daemons, render
from asynclogd.cli.options import run_options, runtime_option
from asynclogd.cli.quantities import ago, bytes_text, number
from asynclogd.cli.render import console, count
from asynclogd.cli.replaybar import ReplayBar
from asynclogd.cli.runs import plain, status_text
from asynclogd.cli.sparkline import sparkline
from asynclogd.course import Course
from asynclogd.digest import Digest, digest
from asynclogd.fanout import looks
from asynclogd.journalcopy import reading
from asynclogd.overview import Overview, kept_files, overview, spooled
from asynclogd.ratelimit import RateLimiter
from asynclogd.selection import Selection

MOST_SERIES = 100
"""Rows of the table of series, when nobody says which."""


@click.command()
@run_options
@click.option("--names", multiple=True, metavar="PATTERN", help="Only series like 'train/*'; may be given again.")
@runtime_option
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def show(run: str, root: Path, names: tuple[str, ...], runtime_dir: Path | None, as_json: bool) -> None:
    """Show RUN: its last values and extremes, a sparkline of each series, ranks, params and ledger.

    RUN is a run's directory, or PROJECT/NAME or NAME as `asynclog runs` has it, or as much of its beginning as is
    unique.

    \b
    asynclog show digits/20260301-101500-a1b2
    asynclog show digits --names 'val/*'

    Values are those of the journal, in full resolution and with what a resume has superseded left out. A sparkline
    keeps spikes: of the steps that share a character the one is drawn that is furthest from the middle.
    """
    run_dir = locate(run, root)
    seen, found = _read(run_dir, names)
    owned = daemons.owner(run_dir, runtime_dir) if seen.live else None
    if as_json:
        click.echo(json.dumps(_plain(seen, found), indent=2))
    else:
        _print(seen, found, owned[1] if owned else None, all_series=bool(names))


def _read(run_dir: Path, names: tuple[str, ...]) -> tuple[Overview, Digest]:
    if not (run_dir / JOURNAL).exists():
        return spooled(run_dir), Digest()
    kept, active = kept_files(run_dir)
    with reading(run_dir / JOURNAL) as (journal, live):
        seen = replace(overview(run_dir, journal, live=live), kept=kept, active=active)
        with ReplayBar("reading", seen.items) as bar:
            return seen, digest(journal, Selection(RateLimiter({}), names), bar.show)


def _plain(seen: Overview, found: Digest) -> dict[str, Any]:
    return {
        **plain(seen),
        "ranks": ranks(seen),
        "ledger": seen.ledger,
        "series": {name: _series(course) for name, course in found.series.items()},
        "params": {name: _json(value) for name, value in found.params.items()},
        "summary": {name: _json(value) for name, value in found.summary.items()},
        "media": found.media,
    }


def _series(course: Course) -> dict[str, Any]:
    total = course.total
    return {
        "points": course.points,
        "first_step": course.first_step,
        "last_step": course.last_step,
        "last": _json(course.last),
        "min": None if total.low > total.high else total.low,
        "max": None if total.low > total.high else total.high,
        "not_finite": total.odd,
        "sparkline": sparkline(course),
    }


def _json(value: Any) -> Any:
    """JSON has no NaN and no infinity: they are words that float() reads."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def ranks(seen: Overview) -> list[dict[str, Any]]:
    """A run's streams as `asynclog status` has them, of what a journal knows."""
    return [
        {
            "rank": stream.rank,
            "world_size": stream.world_size,
            "state": stream.state,
            "host": stream.host,
            "pid": stream.pid,
            "launch": stream.launch,
            "records": stream.next_seq,
            "lost_records": stream.lost,
            "issued": stream.issued,
            "dropped": dict(stream.dropped),
        }
        for stream in seen.streams
    ]


def _print(seen: Overview, found: Digest, reported: Mapping[str, Any] | None, *, all_series: bool) -> None:
    console.print(f"[bold]{escape(seen.project)}/{escape(seen.name)}[/]  {seen.dir}", soft_wrap=True)
    step = "no step" if seen.step is None else f"step {count(seen.step)}"
    again = f", started {seen.generations} times" if seen.generations > 1 else ""
    console.print(
        f"{status_text(seen)}, {step}, world size {seen.world or '?'}{again}, {bytes_text(seen.kept)}, "
        f"active {ago(time.time() - seen.active)}"
    )
    _tell_what_is_open(seen)
    _print_series(found, MOST_SERIES if not all_series else len(found.series))
    for title, values in (("params", found.params), ("summary", found.summary), ("media", found.media)):
        if values:
            _print_values(title, values)
    if reported is not None:
        render.ranks(reported["ranks"])
        render.ledger(reported["ledger"], reported["backends"])
    elif seen.ledger:
        _print_ranks(seen)
        render.ledger(seen.ledger)
        render.where_to_look(str(seen.dir), looks(seen.dir, seen.facts.get("backends", {})))


def _tell_what_is_open(seen: Overview) -> None:
    path = escape(str(seen.dir))
    if seen.status == "running":
        console.print("[green]it is running:[/] what follows is as of now")
    elif seen.status == "unfinished":
        console.print(f"[yellow]nobody has it open, and it has not ended:[/] asynclog sync {path}", soft_wrap=True)
    if seen.spooled:
        text = f"[yellow]{bytes_text(seen.spooled)} wait in its spool and are not in what follows:[/]"
        console.print(f"{text} asynclog sync {path}", soft_wrap=True)
    if seen.open_values or seen.pending_media:
        text = f"{count(seen.open_values)} values are of steps that are still open, {count(seen.pending_media)} media"
        console.print(f"[yellow]{text} wait to be encoded[/]", soft_wrap=True)
    for name, behind in seen.behind.items():
        if behind and not seen.live:
            text = f"[yellow]{escape(name)} has yet to be given {count(behind)} of {count(seen.items)} items[/]"
            console.print(text, soft_wrap=True)


def _print_series(found: Digest, most: int) -> None:
    if not found.series:
        console.print("no points")
        return
    table = Table(box=None, padding=(0, 1))
    width = max(10, min(40, console.width - 76))
    table.add_column("series", overflow="fold", min_width=10)
    for title in ("last", "at step", "min", "max", "points"):
        table.add_column(title, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True, min_width=width)
    for name, course in list(found.series.items())[:most]:
        total = course.total
        extremes = ("", "") if total.low > total.high else (number(total.low), number(total.high))
        last = (number(course.last), count(course.last_step))
        table.add_row(escape(name), *last, *extremes, count(course.points), sparkline(course, width))
    console.print(table)
    if len(found.series) > most:
        console.print(f"and {count(len(found.series) - most)} more series: choose with --names, or see --json")
    if odd := {name: course.total.odd for name, course in found.series.items() if course.total.odd}:
        worst = ", ".join(f"{escape(name)} {count(times)}" for name, times in list(odd.items())[:8])
        console.print(f"[red]values that are not finite:[/] {worst}", soft_wrap=True)


def _print_values(title: str, values: Mapping[str, Any]) -> None:
    text = "  ".join(f"{escape(name)}={escape(str(value))}" for name, value in values.items())
    console.print(f"[bold]{title}[/] {text}", soft_wrap=True)


def _print_ranks(seen: Overview) -> None:
    table = Table(box=None, padding=(0, 1))
    for title in ("rank", "state", "host", "pid", "records"):
        table.add_column(title, no_wrap=True)
    for stream in seen.streams:
        rank = f"{stream.rank} of {stream.world_size}"
        table.add_row(rank, stream.state, escape(stream.host), str(stream.pid), count(stream.next_seq))
    console.print(table)
