"""Target: settings. File, environment and command line give a whole configuration, or an error of ours."""

from __future__ import annotations

import contextlib
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from unittest import mock

import click
import msgspec

from asynclog import settings as client
from asynclog_proto.errors import AsynclogError
from asynclogd.cli.daemon import daemon
from asynclogd.cli.options import settings
from asynclogd.config import Config, load
from asynclogd.registry import CLASS
from tests.fuzz.pieces import split

SECTIONS = ("daemon", "host_metrics", "prometheus", "retention")


@contextlib.contextmanager
def opened() -> Iterator[Callable[[bytes], None]]:
    """The target: `data` is a file's text, NAME=VALUE lines and arguments, as pieces."""
    with tempfile.TemporaryDirectory(prefix="al-config-") as folder:
        path = Path(folder, "asynclog.toml")
        yield lambda data: _run(path, data)


def _run(path: Path, data: bytes) -> None:
    text, lines, arguments = (*split(data, 3), b"", b"", b"")[:3]
    path.write_bytes(text)
    environ = _environ(lines)
    with contextlib.suppress(AsynclogError):
        client.read(environ, 0)
    try:
        config = load(path, environ, {})
    except AsynclogError as error:
        assert str(path) in str(error) or "environment" in str(error), "an error that does not say where"
    else:
        _check(config)
        if any(CLASS in options for options in config.backends.values()):
            return  # code of a user's choice is loaded: here it would be the fuzzer's
    given = [argument for argument in _decoded(arguments).split("\n") if argument and "\0" not in argument]
    with (
        contextlib.suppress(AsynclogError, click.ClickException, click.exceptions.Exit),
        mock.patch.dict(os.environ, environ),
    ):
        _check(_from_command_line([*given, "--config", str(path)]))


def _from_command_line(given: list[str]) -> Config:
    """As `asynclog daemon` has it."""
    with contextlib.redirect_stdout(None):
        context = daemon.make_context("daemon", given)
    names = ("config", "backends", "durability", "no_host_metrics", "bind")
    return settings(*(context.params[name] for name in names))


def _check(config: Config) -> None:
    """It holds by its own rules, and every number is one that a timer or a cap can be."""
    for section in SECTIONS:
        values = getattr(config, section)
        plain = msgspec.to_builtins(values)
        assert msgspec.convert(plain, type(values)) == values
        assert all(math.isfinite(value) and value < 1 << 63 for value in plain.values() if not isinstance(value, str))


def _environ(lines: bytes) -> dict[str, str]:
    """What an environment can hold."""
    pairs = (line.partition("=") for line in _decoded(lines).split("\n") if "\0" not in line)
    return {name: value for name, _, value in pairs if name.startswith("ASYNCLOG_")}


def _decoded(data: bytes) -> str:
    return data.decode(errors="surrogateescape")
