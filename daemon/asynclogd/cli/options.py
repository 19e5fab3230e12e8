"""Options that several commands share, and the settings they make."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from asynclog_proto import places, trackers
from asynclogd.catalog import default_dir
from asynclogd.config import Config, load
from asynclogd.fanout import choose

F = TypeVar("F", bound=Callable[..., Any])


def daemon_options(command: F) -> F:
    """--config, --backend, --durability, --no-host-metrics."""
    for option in (
        click.option("--no-host-metrics", is_flag=True, help="Do not sample CPU, memory, disk, network and GPUs."),
        click.option(
            "--durability", type=click.Choice(["process", "fsync"]), help="What an ack survives.  [default: process]"
        ),
        click.option(
            "--backend", "backends", multiple=True, metavar="NAME",
            help="Deliver to this backend; may be given again.  [default: tensorboard and csv]",
        ),
        click.option("--config", type=click.Path(path_type=Path), help="Settings as TOML (see deploy/asynclog.toml)."),
    ):  # fmt: skip
        command = option(command)
    return command


def settings(
    config: Path | None,
    backends: tuple[str, ...],
    durability: str | None,
    no_host_metrics: bool,
    bind: str | None = None,
    log_format: str | None = None,
) -> Config:
    """File, environment and flags, merged and checked, backends included."""
    flags: dict[str, dict[str, Any]] = {
        "daemon": {"durability": durability, "bind": bind, "log_format": log_format},
        "host_metrics": {"enabled": False if no_host_metrics else None},
    }
    merged = load(config, os.environ, flags)
    if backends:
        chosen = {name: merged.backends.get(name, {}) for name in backends}
        merged = msgspec.structs.replace(merged, backends=chosen)
    here = places.current_directory()
    settled = {name: trackers.settled(name, options, os.environ, here) for name, options in merged.backends.items()}
    for name, options in settled.items():
        choose(name, options)
    return msgspec.structs.replace(merged, backends=settled)


def arguments(
    config: Path | None, backends: tuple[str, ...], durability: str | None, no_host_metrics: bool
) -> list[str]:
    """The same options again, for a daemon that is started as a process."""
    given = [f"--backend={name}" for name in backends]
    if config is not None:
        given.append(f"--config={config.absolute()}")
    if durability is not None:
        given.append(f"--durability={durability}")
    if no_host_metrics:
        given.append("--no-host-metrics")
    return given


def run_options(command: F) -> F:
    """The argument RUN, and --dir: for `catalog.locate`."""
    command = click.option(
        "--dir", "root", type=click.Path(path_type=Path), default=lambda: default_dir(os.environ),
        help="Where RUN is looked for.  [default: $ASYNCLOG_DIR or ./asynclog]",
    )(command)  # fmt: skip
    return click.argument("run")(command)


def runtime_option(command: F) -> F:
    """--runtime-dir."""
    return click.option(
        "--runtime-dir", type=click.Path(path_type=Path),
        help="Where sockets, rings and locks are.  [default: $ASYNCLOG_RUNTIME_DIR, or a private tmpfs directory]",
    )(command)  # fmt: skip


def runtime_of(option: Path | None) -> Path:
    """The runtime directory, by option or environment."""
    return option.absolute() if option is not None else places.runtime_dir(os.environ, os.getuid())
