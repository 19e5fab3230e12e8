"""What the environment says, read once per `init` into frozen values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from asynclog_proto import places
from asynclog_proto.errors import ConfigError
from asynclog_proto.frozen import frozen

MODES = ("auto", "offline", "disabled")
MIB = 1 << 20
DEFAULT_DIR = "asynclog"


@frozen
class Settings:
    """`ring_bytes`, `spool_bytes`: caps, and of media bodies `media_bytes` (the outbox; 0 for none) and
    `media_spool_bytes` (the oldest are dropped there; 0: what has no room in the outbox is). `flush_s`: seconds between
    two flushes of the sender, `busy_flush_s` while its cores are short; ASYNCLOG_FLUSH_MS sets both.
    """

    mode: str
    ring_bytes: int
    spool_bytes: int
    media_bytes: int
    media_spool_bytes: int
    flush_s: float
    busy_flush_s: float
    endpoint: str | None
    name: str | None
    runtime: Path


def read(environ: Mapping[str, str], uid: int) -> Settings:
    """The client's settings. Raises ConfigError, which names the variable and what it allows."""
    mode = environ.get("ASYNCLOG_MODE") or "auto"
    flush_s, busy_flush_s = (_number(environ, "ASYNCLOG_FLUSH_MS", ms, 1, 10_000) / 1000 for ms in (100, 1000))
    return Settings(
        mode=check_mode("ASYNCLOG_MODE", mode),
        ring_bytes=int(_number(environ, "ASYNCLOG_RING_MB", 8, 0.125, 1024) * MIB) // 4096 * 4096,
        spool_bytes=int(_number(environ, "ASYNCLOG_SPOOL_MB", 4096, 0, 1 << 24) * MIB),
        media_bytes=int(_number(environ, "ASYNCLOG_MEDIA_MB", 64, 0, 1 << 20) * MIB) // 4096 * 4096,
        media_spool_bytes=int(_number(environ, "ASYNCLOG_MEDIA_SPOOL_MB", 1024, 0, 1 << 24) * MIB),
        flush_s=flush_s,
        busy_flush_s=busy_flush_s,
        endpoint=environ.get("ASYNCLOG_ENDPOINT") or None,
        name=environ.get("ASYNCLOG_NAME") or None,
        runtime=places.runtime_dir(environ, uid),
    )


def check_mode(what: str, mode: object) -> str:
    """`mode`, if it is one. Raises ConfigError otherwise."""
    if mode not in MODES:
        raise ConfigError(f"{what} is one of {', '.join(MODES)}, not {mode!r}")
    return str(mode)


def directory(given: Any, environ: Mapping[str, str]) -> str:
    """The absolute directory of all runs: `given` if it is not the default, else $ASYNCLOG_DIR. Raises ConfigError."""
    try:
        text = os.fspath(given)
    except TypeError:
        raise ConfigError(f"dir is a path, not {type(given).__name__}") from None
    if text == DEFAULT_DIR:
        text = environ.get("ASYNCLOG_DIR") or text
    path = os.path.abspath(os.fsdecode(text))  # noqa: PTH100 - a link stays a link, for the daemon to follow
    try:
        path.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"dir {path!a} is not UTF-8") from None
    return path


def _number(environ: Mapping[str, str], name: str, default: float, low: float, high: float) -> float:
    text = environ.get(name)
    if not text:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not low <= value <= high:
        raise ConfigError(f"{name} is a number from {low:g} to {high:g}, not {text!r}")
    return value
