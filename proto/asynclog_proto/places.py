"""Where things are, as pure functions of the environment: the runtime directory, endpoints, a run's files.

<runtime>/daemon.sock  daemon.lock  daemon.log  spawn.lock  rings/<digest>-<rank>-<incarnation>.ring
<dir>/<project>/<name>/journal.sqlite  journal.begun  spool/<rank>-<incarnation>/  tensorboard/  csv/  ...
<keys>/client.secret  daemon.secret  server.public  allowed/<name>.public
"""

from __future__ import annotations

import hashlib
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from asynclog_proto.errors import ConfigError, UnsafePathError

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

MAX_SOCKET_PATH = 107
"""sun_path on Linux is 108 bytes with its NUL."""

MAX_COMPONENT_BYTES = 200


def runtime_dir(environ: Mapping[str, str], uid: int) -> Path:
    """The private directory of sockets, rings and locks: on tmpfs where there is one."""
    if explicit := environ.get("ASYNCLOG_RUNTIME_DIR"):
        return Path(explicit).absolute()
    if session := environ.get("XDG_RUNTIME_DIR"):
        return Path(session, "asynclog")
    shared = Path("/dev/shm")  # noqa: S108 - a 0700 directory of ours goes in, checked by lstat
    return (shared if shared.is_dir() else Path("/tmp")) / f"asynclog-{uid}"  # noqa: S108 - the same


def current_directory() -> str | None:
    """Where this process is; None in a directory that has gone."""
    try:
        return str(Path.cwd())
    except FileNotFoundError:
        return None


def pid_namespace() -> str:
    """In which this process's id counts, one word; "" where the system has no such thing: containers of a pod share a
    hostname, and each counts its processes anew.
    """
    try:
        return str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        return ""


def process_ticks(pid: int) -> int:
    """When a process began, in clock ticks since its machine did, which nobody can set. Raises OSError where the system
    does not tell.
    """
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[19])


def endpoint(runtime: Path) -> str:
    """The daemon's ZeroMQ address in a runtime directory. Raises ConfigError when it is too long."""
    path = str(runtime / "daemon.sock")
    _check_socket(path)
    return f"ipc://{path}"


def _check_socket(path: str) -> None:
    try:
        length = len(path.encode())
    except UnicodeEncodeError as error:
        raise ConfigError(f"the socket path {path!r} is not UTF-8: set ASYNCLOG_RUNTIME_DIR") from error
    if length > MAX_SOCKET_PATH or not path.isprintable():
        raise ConfigError(
            f"the socket path {path!r} is longer than the {MAX_SOCKET_PATH} bytes that the kernel allows, "
            "or has control characters: set ASYNCLOG_RUNTIME_DIR to a shorter directory"
        )


def runtime_of(address: str) -> Path:
    """The runtime directory that an ipc address lies in. Raises ConfigError for any other transport."""
    if not address.startswith("ipc:///"):
        raise ConfigError(f"endpoint {address!r}: only ipc:// with an absolute path, or tcp://HOST:PORT")
    path = address[len("ipc://") :]
    _check_socket(path)
    return Path(path).parent


def is_remote(address: str) -> bool:
    """Whether an endpoint is on a network, where a peer needs a key."""
    return address.startswith("tcp://")


def check_endpoint(address: str) -> str:
    """An endpoint: ipc:// with an absolute path, or tcp://HOST:PORT. Raises ConfigError for anything else."""
    if is_remote(address):
        host_and_port(address)
    else:
        runtime_of(address)
    return address


def host_and_port(address: str) -> tuple[str, int]:
    """Of tcp://HOST:PORT, an IPv6 address in brackets. Raises ConfigError."""
    host, _, port = address.removeprefix("tcp://").rpartition(":")
    number = int(port) if port.isascii() and port.isdecimal() and len(port) <= 5 else -1
    bare = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    well_formed = bare and bare.isascii() and bare.isprintable() and not set(bare) & set("/@;?# []")
    if not is_remote(address) or not well_formed or (":" in host and bare == host) or not 0 <= number < 1 << 16:
        raise ConfigError(f"endpoint {address!r}: expected tcp://HOST:PORT")
    return bare, number


def keys_dir(environ: Mapping[str, str]) -> Path:
    """The private directory of this user's keys for TCP. Raises ConfigError when the environment names no home."""
    if explicit := environ.get("ASYNCLOG_KEYS"):
        return Path(explicit).absolute()
    if config := environ.get("XDG_CONFIG_HOME"):
        return Path(config, "asynclog", "keys").absolute()
    if home := environ.get("HOME"):
        return Path(home, ".config", "asynclog", "keys").absolute()
    raise ConfigError("there is no place for keys: set ASYNCLOG_KEYS, or HOME")


def check_private(path: Path, status: os.stat_result, uid: int) -> None:
    """Raise UnsafePathError unless `status` (of os.lstat) is a directory of ours that nobody else may enter."""
    mode, owner = status.st_mode, status.st_uid
    if stat.S_ISLNK(mode) or not stat.S_ISDIR(mode):
        raise UnsafePathError(f"{path} is not a directory of its own (a link?): remove it")
    if owner != uid:
        raise UnsafePathError(f"{path} belongs to user {owner}, not to you ({uid}): set ASYNCLOG_RUNTIME_DIR")
    if mode & 0o077:
        raise UnsafePathError(f"{path} is open to others (mode {mode & 0o777:o}): chmod 700 {path}")


def check_secret(path: Path, status: os.stat_result, uid: int) -> None:
    """Raise UnsafePathError unless `status` (of an open file) is a file of ours that nobody else may read."""
    if not stat.S_ISREG(status.st_mode):
        raise UnsafePathError(f"{path} is not a file of its own: remove it")
    if status.st_uid != uid:
        raise UnsafePathError(f"{path} belongs to user {status.st_uid}, not to you ({uid})")
    if status.st_mode & 0o077:
        raise UnsafePathError(f"{path} is open to others (mode {status.st_mode & 0o777:o}): chmod 600 {path}")


def check_socket(path: Path, status: os.stat_result, uid: int) -> None:
    """Raise UnsafePathError unless `status` (of os.lstat) is a socket of ours."""
    if not stat.S_ISSOCK(status.st_mode):
        raise UnsafePathError(f"{path} is there and is no socket (a link?): remove it, we don't know whose it is")
    if status.st_uid != uid:
        raise UnsafePathError(f"{path} belongs to user {status.st_uid}, not to you ({uid}): set ASYNCLOG_RUNTIME_DIR")


def parse_key(text: str, where: object) -> bytes:
    """The 32 bytes of a key that is written as 64 hexadecimal digits. Raises ConfigError, which does not show it."""
    digits = text.strip()
    if len(digits) != 64 or not all(digit in "0123456789abcdef" for digit in digits):
        raise ConfigError(f"{where}: a key is 64 hexadecimal digits, as `asynclog keys new` and `keys list` print them")
    return bytes.fromhex(digits)


def check_component(what: str, value: object) -> str:
    """A project's or run's name, as it may be a directory's name. Raises ConfigError otherwise."""
    allowed = f"1 to {MAX_COMPONENT_BYTES} bytes without '/' or control characters, not beginning with '.'"
    if not isinstance(value, str):
        raise ConfigError(f"{what} is a string, not {type(value).__name__}")
    well_formed = value and not value.startswith(".") and "/" not in value and value.isprintable()
    if not well_formed or len(value.encode(errors="replace")) > MAX_COMPONENT_BYTES:
        raise ConfigError(f"{what} {value!r} can't name a directory: {allowed}")
    return value


def run_dir(directory: str, project: str, name: str) -> Path:
    """The directory of a run."""
    return Path(directory, project, name)


def spool_dir(run: Path, rank: int, incarnation: str) -> Path:
    """The directory of a stream's spool segments."""
    return run / "spool" / f"{rank}-{incarnation}"


def begun_path(run: Path) -> Path:
    """A line for each process that has begun to log to the run, its incarnation: see SPEC.md, section 8."""
    return run / "journal.begun"


def ring_path(rings: Path, run: Path, rank: int, incarnation: str) -> Path:
    """A stream's ring; the run is in it as a digest, so that no name becomes a path."""
    return rings / f"{_digest(run)}-{rank}-{incarnation}.ring"


def rings_of(run: Path) -> str:
    """A pattern of the names of a run's rings."""
    return f"{_digest(run)}-*.ring"


def _digest(run: Path) -> str:
    return hashlib.blake2b(str(run).encode(errors="surrogateescape"), digest_size=6).hexdigest()


def outbox_path(rings: Path, run: Path, rank: int, incarnation: str) -> Path:
    """A stream's outbox, beside its ring."""
    return ring_path(rings, run, rank, incarnation).with_suffix(".outbox")


def media_path(spool: Path, number: int) -> Path:
    """The spool's file `number` (from 1) of media bodies."""
    return spool / f"media-{number}.seg"


def media_dropped_path(spool: Path) -> Path:
    """Where a client says up to which of its files of media bodies it has dropped, decimal: see SPEC.md, section 9."""
    return spool / "media.dropped"


def spooled_outbox_path(spool: Path) -> Path:
    """Where a client that ends leaves an outbox that its spooled records still name."""
    return spool / "media.outbox"
