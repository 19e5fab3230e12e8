"""Sockets that listen, made by us and then given to libzmq: it would replace whatever is at a path, and knows no names
of hosts.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from pathlib import Path

from asynclog_proto import places
from asynclog_proto.errors import ConfigError

BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Listening:
    """`address` is libzmq's name for it."""

    socket: socket.socket
    address: str
    remote: bool = False


def on_path(path: Path) -> Listening:
    """Listen at a path in our private directory, whose lock must be held. A socket of ours that a dead daemon left is
    replaced. Raises UnsafePathError for anything else that is there.
    """
    address = places.endpoint(path.parent)
    try:
        places.check_socket(path, os.lstat(path), os.getuid())
    except FileNotFoundError:
        pass
    else:
        path.unlink()
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # it is ours alone from its first moment
    try:
        listener.bind(str(path))
    finally:
        os.umask(before)
    return _listen(listener, address)


def on_port(address: str) -> Listening:
    """Listen at tcp://HOST:PORT; port 0 is any. Raises ConfigError when that can't be had."""
    host, port = places.host_and_port(address)
    try:
        listener = _bound(None if host == "*" else host, port)
    except OSError as error:
        raise ConfigError(f"can't listen at {address}: {error.strerror or error}") from error
    where, got = listener.getsockname()[:2]
    return _listen(listener, f"tcp://[{where}]:{got}" if ":" in where else f"tcp://{where}:{got}", remote=True)


def _bound(host: str | None, port: int) -> socket.socket:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    family, kind, number, _, at = found[0]
    listener = socket.socket(family, kind, number)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(at)
    except OSError:
        listener.close()
        raise
    return listener


def _listen(listener: socket.socket, address: str, *, remote: bool = False) -> Listening:
    listener.listen(BACKLOG)
    listener.setblocking(False)
    return Listening(listener, address, remote)
