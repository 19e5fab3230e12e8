"""The tree of what can go wrong on the wire and at the doors of the system.

AsynclogError
├── ProtocolError            a peer sent what the protocol does not allow
│   ├── LimitError           ... more of it than a limit admits
│   └── VersionError         ... in no version that both sides know
├── NoValueError             a reduced value that was asked for can't be had
├── ConfigError              a setting is wrong: names where, the key and what is allowed
└── UnsafePathError          a directory or socket of ours belongs to someone else
"""

from __future__ import annotations


class AsynclogError(Exception):
    """Root of every error that asynclog raises on purpose."""


class ProtocolError(AsynclogError):
    """Bytes from a peer that the protocol does not allow."""


class LimitError(ProtocolError):
    """A size beyond what the protocol admits."""


class VersionError(ProtocolError):
    """No version of the protocol, or of a file's format, is known to both sides."""


def check_magic(found: bytes, magic: bytes, what: str) -> None:
    """The bytes that a file begins with: a name, and one digit for its format's version. Raises ProtocolError."""
    if found == magic:
        return
    if found[:-1] == magic[:-1] and found[-1:].isdigit():
        formats = f"format {found[-1:].decode()}; this asynclog reads format {magic[-1:].decode()}"
        raise VersionError(f"{what} of {formats}: use the version that wrote it, or a newer one")
    raise ProtocolError(f"not {what}")


class NoValueError(AsynclogError):
    """A reduced value that there is not, or that can't be told: the text says which and why."""


class ConfigError(AsynclogError):
    """A setting that is wrong; the text names its place, its key and what is allowed."""


class UnsafePathError(AsynclogError):
    """A path that should be private to this user is not."""
