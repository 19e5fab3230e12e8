"""Keys for TCP, in one private directory of this user's: who the daemon is, who it lets in, who we are to it.

    client.secret          ours, as a client        server.public          the daemon's that we speak to
    daemon.secret          our daemon's             allowed/<name>.public  clients that our daemon lets in

Each file is one line of 64 hexadecimal digits, 0600. They are replaced whole, so that whoever reads finds a key. A
public key is not kept beside its secret one: it is computed.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import zmq
from zmq.utils import z85

from asynclog_proto import places
from asynclog_proto.errors import ConfigError, UnsafePathError

CLIENT, DAEMON, SERVER, ALLOWED = "client.secret", "daemon.secret", "server.public", "allowed"

MOST_ALLOWED = 1000
REREAD_SECONDS = 1.0
"""The list of the allowed is read again so often at most: a key that is revoked is let in no longer than that."""


@dataclass(frozen=True, slots=True)
class Pair:
    """32 bytes each; `repr` shows no secret."""

    public: bytes
    secret: bytes = field(repr=False)


def keys_dir() -> Path:
    """Where this user's keys are. Raises ConfigError when that can't be told."""
    return places.keys_dir(os.environ)


def pair_of(secret: bytes) -> Pair:
    """A secret key with its public one."""
    return Pair(z85.decode(zmq.curve_public(z85.encode(secret))), secret)


def make(directory: Path) -> None:
    """New keys for this user as a client and for its daemon, which know each other. Those that are there stay: to
    replace one is to lock somebody out. Raises UnsafePathError, ConfigError.
    """
    _prepare(directory)
    for name in (CLIENT, DAEMON):
        if not (directory / name).exists():
            _write(directory / name, z85.decode(zmq.curve_keypair()[1]))
    if not (directory / SERVER).exists():
        _write(directory / SERVER, daemon_pair(directory).public)
    ours = client_pair(directory).public
    if ours not in allowed(directory):
        allow(directory, "self", ours)


def client_pair(directory: Path) -> Pair:
    """Ours, as a client. Raises ConfigError, UnsafePathError."""
    return pair_of(_read_secret(directory, CLIENT))


def daemon_pair(directory: Path) -> Pair:
    """Our daemon's. Raises ConfigError, UnsafePathError."""
    return pair_of(_read_secret(directory, DAEMON))


def server_key(directory: Path) -> bytes:
    """The public key of the daemon that we speak to. Raises ConfigError."""
    return _read(directory / SERVER)


def trust(directory: Path, key: bytes) -> None:
    """Speak to the daemon that has this public key, and to no other."""
    _prepare(directory)
    _write(directory / SERVER, key)


def allow(directory: Path, name: str, key: bytes) -> None:
    """Let a client in. Raises ConfigError for a name that can't be a file's, or that another key has."""
    places.check_component("name", name)
    _prepare(directory)
    known = allowed(directory)
    if name in known.values() and known.get(key) != name:
        raise ConfigError(f"{name!r} has another key already: `asynclog keys revoke {name}` first")
    if len(known) >= MOST_ALLOWED:
        raise ConfigError(f"{MOST_ALLOWED} keys are allowed already: revoke some")
    _write(directory / ALLOWED / f"{name}.public", key)


def revoke(directory: Path, name: str) -> None:
    """Let a client in no more. Raises ConfigError when there is none of that name."""
    places.check_component("name", name)
    try:
        (directory / ALLOWED / f"{name}.public").unlink()
    except FileNotFoundError as error:
        raise ConfigError(f"no key is allowed under the name {name!r}") from error


def allowed(directory: Path) -> dict[bytes, str]:
    """Public keys of the clients that are let in, and their names. A file that holds no key lets nobody in. Raises
    UnsafePathError when others may add to them.
    """
    found: dict[bytes, str] = {}
    for place in (directory, directory / ALLOWED):
        try:
            places.check_private(place, os.lstat(place), os.getuid())
        except FileNotFoundError:
            return {}
    for path in sorted((directory / ALLOWED).glob("*.public"))[:MOST_ALLOWED]:
        try:
            found[_read(path)] = path.stem
        except ConfigError:
            continue
    return found


class AllowList:
    """Who is let in, as the directory says: read again when it was read some time ago."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._read_at = float("-inf")
        self._names: Mapping[bytes, str] = {}

    def names(self, now: float) -> Mapping[bytes, str]:
        """Public keys and their names, at the monotonic time `now`. Nobody while the directory is not private."""
        if now - self._read_at >= REREAD_SECONDS:
            self._read_at = now
            try:
                self._names = allowed(self._directory)
            except (OSError, UnsafePathError):
                self._names = {}
        return self._names


def _prepare(directory: Path) -> None:
    for place in (directory, directory / ALLOWED):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        places.check_private(place, os.lstat(place), os.getuid())


def _write(path: Path, key: bytes) -> None:
    fd, part = tempfile.mkstemp(dir=path.parent, prefix=".")  # 0600 from the beginning
    try:
        with os.fdopen(fd, "w") as file:
            file.write(f"{key.hex()}\n")
            file.flush()
            os.fsync(fd)
        Path(part).replace(path)
    except OSError:
        Path(part).unlink(missing_ok=True)
        raise


def _read_secret(directory: Path, name: str) -> bytes:
    try:
        places.check_private(directory, os.lstat(directory), os.getuid())
    except FileNotFoundError as error:
        raise ConfigError(f"there are no keys in {directory}: `asynclog keys new`") from error
    return _read(directory / name, secret=True)


def _read(path: Path, *, secret: bool = False) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError as error:
        raise ConfigError(f"there is no key {path}: `asynclog keys new`") from error
    except OSError as error:
        raise ConfigError(f"the key {path} can't be read: {error.strerror}") from error
    try:
        if secret:
            places.check_secret(path, os.fstat(fd), os.getuid())
        return places.parse_key(os.read(fd, 256).decode("ascii", "replace"), path)
    finally:
        os.close(fd)
