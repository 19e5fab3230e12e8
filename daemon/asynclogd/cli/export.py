"""`asynclog export`: a run's points as files."""

from __future__ import annotations

from pathlib import Path

import click
from rich.markup import escape

from asynclog_proto.errors import ConfigError
from asynclogd import registry
from asynclogd.catalog import JOURNAL, locate, spool_of, title
from asynclogd.cli.options import run_options
from asynclogd.cli.render import console, count
from asynclogd.cli.replaybar import ReplayBar
from asynclogd.export import FORMATS, export
from asynclogd.exportplace import check
from asynclogd.journalcopy import reading
from asynclogd.overview import overview
from asynclogd.ratelimit import RateLimiter
from asynclogd.selection import Selection


@click.command(name="export")
@run_options
@click.option("--format", "form", type=click.Choice(FORMATS), required=True, help="Which files.")
@click.option("--out", type=click.Path(path_type=Path), help="Directory to make.  [default: ./NAME-FORMAT]")
@click.option("--names", multiple=True, metavar="PATTERN", help="Only series like 'train/*'; may be given again.")
@click.option("--since", type=int, metavar="STEP", help="Only points of this step and later.")
@click.option("--force", is_flag=True, help="Replace an earlier export in --out.")
def export_command(
    run: str, root: Path, form: str, out: Path | None, names: tuple[str, ...], since: int | None, force: bool
) -> None:
    """Write RUN's points as tables, in full resolution, whatever its backends were shown.

    \b
    asynclog export digits/run-7 --format parquet
    asynclog export run-7 --format csv --names 'val/*' --out tables/run-7

    RUN is as for `asynclog show`; one that is going on is written as far as it is. The files are those of the backend
    of that name (docs/backends.md). They appear when they are whole: --out is there with all of it, or not at all.
    What is no export (it has no .asynclog-export.json) is never replaced, the run's and the current directory neither.
    References to images and the like are to files in the run's own directory.
    """
    run_dir = locate(run, root)
    backend = registry.build(form)
    out = out or Path(f"{run_dir.name}-{form}")
    check(out, run_dir)
    if out.exists() and not force:
        raise ConfigError(f"{out} is there already: --force replaces it, --out names another directory")
    if not (run_dir / JOURNAL).is_file():
        raise ConfigError(f"{title(run_dir)} was never journaled: asynclog sync {run_dir}")
    limiter = Selection(RateLimiter({}), names, since)
    with reading(run_dir / JOURNAL) as (journal, live), ReplayBar("exporting", journal.last_offset) as bar:
        # A daemon has a run open for some seconds after its end, of which nothing comes any more.
        going_on = live and not overview(run_dir, journal, live=live).ended
        written = export(journal, run_dir, form, backend, limiter, out.absolute(), bar.show)
    limited = f", {count(written.limited)} values left out" if written.limited else ""
    console.print(f"{escape(str(out))}: {count(written.points)} points{limited}", soft_wrap=True)
    if going_on:
        console.print("[yellow]the run goes on: this is as far as it was[/]")
    if spool_of(run_dir):
        text = f"[yellow]what waits in its spool is not in it; first:[/] asynclog sync {escape(str(run_dir))}"
        console.print(text, soft_wrap=True)
