"""This user's keys for a daemon on another machine: its own secret one, and the daemon's public one.

`asynclog keys` makes and changes them; they are read once per `init`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from asynclog_proto import places
from asynclog_proto.errors import ConfigError
from asynclog_proto.frozen import frozen


@frozen
class ClientKeys:
    """32 bytes each; `repr` shows no secret."""

    server: bytes
    secret: bytes

    def __repr__(self) -> str:
        return f"ClientKeys(server={self.server!r})"


def read(environ: Mapping[str, str]) -> ClientKeys:
    """The keys in $ASYNCLOG_KEYS, or where they are by default. Raises ConfigError when there are none, UnsafePathError
    when others may read or change them.
    """
    directory = places.keys_dir(environ)
    try:
        places.check_private(directory, os.lstat(directory), os.getuid())
        secret = _read(directory / "client.secret", secret=True)
        return ClientKeys(_read(directory / "server.public", secret=False), secret)
    except FileNotFoundError as error:
        raise ConfigError(
            f"TCP needs keys, and there is no {error.filename}: `asynclog keys new` here, `asynclog keys allow` where "
            "the daemon runs (docs/security.md)"
        ) from error
    except OSError as error:
        raise ConfigError(f"TCP needs keys, and {error.filename} can't be read: {error.strerror}") from error


def _read(path: Path, *, secret: bool) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        if secret:
            places.check_secret(path, os.fstat(fd), os.getuid())
        return places.parse_key(os.read(fd, 256).decode("ascii", "replace"), path)
    finally:
        os.close(fd)
