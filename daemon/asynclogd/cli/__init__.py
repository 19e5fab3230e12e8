"""The `asynclog` command."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import click

from asynclog_proto import __version__
from asynclog_proto.errors import AsynclogError

COMMANDS = {
    "bench": "bench",
    "daemon": "daemon",
    "export": "export_command",
    "gc": "gc",
    "keys": "keys",
    "replay": "replay",
    "run": "run",
    "runs": "runs",
    "show": "show",
    "status": "status",
    "sync": "sync",
}
"""Each is a module here, and the name of the command in it."""


class Commands(click.Group):
    """Imports a command when it is asked for: `status` needs none of what the daemon does."""

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command of that name, None when there is none."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"{__name__}.{cmd_name}")
        command: click.Command = getattr(module, COMMANDS[cmd_name])
        return command


@click.group(
    cls=Commands,
    commands=dict.fromkeys(COMMANDS, click.Command(None)),
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@click.version_option(__version__, prog_name="asynclog")
def cli() -> None:
    """Asynchronous logging for training: ranks push, a daemon reduces, limits and delivers.

    \b
    asynclog run -- torchrun --nproc-per-node 8 train.py   a daemon beside the training, drained at its end
    asynclog status                                        what is running, how far, what is pending
    asynclog sync ./asynclog                               deliver what was logged offline or left by a crash
    asynclog runs                                          the runs of a directory
    asynclog show digits/run-7                             one run: last values, sparklines, ranks, ledger
    asynclog replay digits/run-7 --to wandb                send it to a backend that it never had
    asynclog export digits/run-7 --format parquet          its points as tables
    asynclog gc --older-than 30d --keep-size 50G           remove journals of old runs
    asynclog bench                                         what logging costs on this machine

    In the training script:

    \b
    import asynclog
    with asynclog.init(project="digits") as run:
        run.log({"loss": 0.5})
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: errors of ours are one line on stderr and exit code 2. `arguments` are by default the process's."""
    try:
        cli(args=arguments, prog_name="asynclog")
    except AsynclogError as error:
        click.echo(f"asynclog: {error}", err=True)
        sys.exit(2)
