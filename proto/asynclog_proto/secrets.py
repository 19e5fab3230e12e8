"""Secrets among a backend's options: they are named there, never written. Options lie in rings, spools and journals,
which are copied and shown; a password that is in none of them can't be found there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from asynclog_proto.errors import ConfigError

_KEY = re.compile(r"(^|[_-])(api_?key|access_?key|private_?key|token|password|passwd|secret)$", re.IGNORECASE)
_REFERENCE = re.compile(r"(env|file):(.+)")
_USERINFO = re.compile(
    r"""
    (                                # what stays:
        (?<!http)(?<!https)://[^:/]*:  # a database's address, which SQLAlchemy reads: / # ? and spaces are its
        | ://(?!\[)[^:/\s]*:(?!\d*[/?#])(?=[^@\s]*@)  # another one; http://host:80/a@b has a port there
    )
    [^@]*(?:@\S*)?(?=@)
    """,
    re.IGNORECASE | re.VERBOSE,
)
_PARAMETER = re.compile(
    r"((?:[?&;]|%3B|%26)[\w-]*(?:password|passwd|pwd)(?:=|%3D))(?:(?!%3B|%26)[^&;\s])+", re.IGNORECASE
)
"""Of an address, or of an ODBC connection in one, which is quoted there."""


def is_secret(key: str) -> bool:
    """Whether an option of that name holds a secret."""
    return _KEY.search(key) is not None


def reference(value: str) -> tuple[str, str] | None:
    """What `env:NAME` or `file:PATH` refers to; None for anything else."""
    match = _REFERENCE.fullmatch(value)
    return None if match is None else (match[1], match[2])


def has_password(value: Any) -> bool:
    """Whether an address with a password is in a text, or in one of the texts of a list or a table. Rather too many are
    taken for one than too few.
    """
    if isinstance(value, Mapping):
        value = [*value, *value.values()]
    if isinstance(value, (list, tuple)):
        return any(map(has_password, value))
    return isinstance(value, str) and without_passwords(value, "") != value


def without_passwords(text: str, shown: str) -> str:
    """A text with `shown` for the passwords of the addresses in it."""
    return "\n".join(_PARAMETER.sub(rf"\1{shown}", _without_userinfo(line, shown)) for line in text.split("\n"))


def _without_userinfo(line: str, shown: str) -> str:
    before, at, after = line.rpartition("@")  # no address without one: or each would be looked for to the line's end
    return _USERINFO.sub(rf"\1{shown}", before + at) + after


def check_options(backend: str, options: Mapping[str, Any]) -> None:
    """Raises ConfigError, which does not show it, when a secret is written among a backend's options."""
    for key, value in options.items():
        if isinstance(value, str) and value and is_secret(str(key)) and reference(value) is None:
            raise ConfigError(
                f"backend {backend!r}: option {key!r} is a secret, and options are kept in files: say 'env:NAME' or "
                "'file:PATH', where the daemon finds it"
            )
        if has_password(value):
            raise ConfigError(
                f"backend {backend!r}: option {key!r} has a password in its address, and options are kept in files: "
                "give the address without it, and the password by the environment or the file that the product reads "
                "(MLflow's tracking_uri may be 'env:NAME', a variable of the daemon that has the whole address)"
            )
