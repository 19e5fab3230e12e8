"""Secrets among a backend's options: they are named there, never written. Options lie in rings, spools and journals,
which are copied and shown; a password that is in none of them can't be found there.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from asynclog_proto.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_KEY = re.compile(r"(^|[_-])(api_?key|access_?key|private_?key|token|password|passwd|secret)$", re.IGNORECASE)
_REFERENCE = re.compile(r"(env|file):(.+)")
_USERINFO = re.compile(r"://[^/?#\s]*:[^/?#\s]*@")


def is_secret(key: str) -> bool:
    """Whether an option of that name holds a secret."""
    return _KEY.search(key) is not None


def reference(value: str) -> tuple[str, str] | None:
    """What `env:NAME` or `file:PATH` refers to; None for anything else."""
    match = _REFERENCE.fullmatch(value)
    return None if match is None else (match[1], match[2])


def has_password(value: str) -> bool:
    """Whether an address has a password in it."""
    return _USERINFO.search(value) is not None


def check_options(backend: str, options: Mapping[str, Any]) -> None:
    """Raises ConfigError, which does not show it, when a secret is written among a backend's options."""
    for key, value in options.items():
        if not isinstance(value, str) or not value:
            continue
        if is_secret(str(key)) and reference(value) is None:
            raise ConfigError(
                f"backend {backend!r}: option {key!r} is a secret, and options are kept in files: say 'env:NAME' or "
                "'file:PATH', where the daemon finds it"
            )
        if has_password(value):
            raise ConfigError(
                f"backend {backend!r}: option {key!r} has a password in its address, and options are kept in files: "
                "give the address without it, and the password by the environment or the file that the product reads"
            )
