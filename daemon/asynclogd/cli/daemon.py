"""`asynclog daemon`: serve until told to stop."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from asynclogd.cli.options import daemon_options, runtime_of, runtime_option, settings


@click.command()
@runtime_option
@daemon_options
@click.option("--bind", metavar="tcp://HOST:PORT", help="Listen on a network too; see `asynclog keys`.")
@click.option("--log-format", type=click.Choice(["text", "json"]), help="Of the log on stderr.  [default: text]")
@click.option("--auto", is_flag=True, help="End when idle; end at once, without an error, when another daemon serves.")
@click.option("--owner", type=int, help="With --auto: do not end while the process with this pid lives.")
def daemon(
    runtime_dir: Path | None,
    config: Path | None,
    backends: tuple[str, ...],
    durability: str | None,
    no_host_metrics: bool,
    bind: str | None,
    log_format: str | None,
    auto: bool,
    owner: int | None,
) -> None:
    """Run the daemon in the foreground.

    One daemon serves a runtime directory, for any number of runs and ranks of this user on this machine. It ends
    on SIGTERM or Ctrl-C after it has committed and flushed what it has; a second one makes it leave at once, and
    nothing that was acked is lost.

    Settings come from --config, then ASYNCLOG_<SECTION>_<KEY> (ASYNCLOG_DAEMON_DURABILITY=fsync), then flags.
    """
    import uvloop

    from asynclogd import loglines
    from asynclogd.doors import DaemonRunningError
    from asynclogd.server import Server

    merged = settings(config, backends, durability, no_host_metrics, bind, log_format)
    loglines.begin(merged.daemon.log_format, sys.stderr)

    async def serve() -> None:
        await Server(runtime_of(runtime_dir), merged, auto=auto, owner=owner).serve()

    try:
        if sys.version_info >= (3, 12):
            uvloop.run(serve())
        else:
            uvloop.install()
            import asyncio

            asyncio.run(serve())
    except DaemonRunningError as error:
        if not auto:
            raise
        click.echo(f"asynclog: {error}: nothing to do", err=True)
