"""The trackers' standard environment variables, and addresses that are relative: what both say depends on the process.

It is the process whose user names a backend that counts, be it a training or a command: the daemon serves others too,
was started by one of them, and has a directory of its own.
"""

from __future__ import annotations

import posixpath
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from asynclog_proto import secrets
from asynclog_proto.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLES: dict[str, dict[str, str]] = {
    "wandb": {
        "project": "WANDB_PROJECT",
        "entity": "WANDB_ENTITY",
        "name": "WANDB_NAME",
        "notes": "WANDB_NOTES",
        "tags": "WANDB_TAGS",
        "group": "WANDB_RUN_GROUP",
        "job_type": "WANDB_JOB_TYPE",
        "mode": "WANDB_MODE",
    },
    "mlflow": {"tracking_uri": "MLFLOW_TRACKING_URI", "experiment": "MLFLOW_EXPERIMENT_NAME"},
    "comet": {"project": "COMET_PROJECT_NAME", "workspace": "COMET_WORKSPACE"},
    "neptune": {"project": "NEPTUNE_PROJECT"},
}
"""By backend: an option, and the variable that holds where it is not given."""

_NAMED_PLACES = frozenset(("databricks", "databricks-uc", "uc"))
"""Addresses of MLflow's that look like relative paths."""


_ADDRESS, _CREDENTIALS = "tracking_uri", "credentials_file"
"""Options that are read where the daemon is, of any backend: MLflow may have a second one under another name."""

_SQLITE = re.compile(r"(sqlite(?:\+\w+)?:///)([^?]+)(.*)", re.DOTALL)
_FILE_URI = re.compile(r"[?&]uri=(true|yes|on|y|t|1)\b", re.IGNORECASE)
"""SQLAlchemy's own words for it."""
_SCHEME = re.compile(r"[A-Za-z][\w+.-]*:")


def said(backend: str, environ: Mapping[str, str]) -> dict[str, Any]:
    """The options of a backend as the variables say them: not to be kept."""
    found: dict[str, Any] = {
        option: environ[name] for option, name in VARIABLES.get(backend, {}).items() if environ.get(name)
    }
    if "tags" in found:
        found["tags"] = [tag.strip() for tag in found["tags"].split(",") if tag.strip()]
    return found


def with_said(
    backend: str, options: Mapping[str, Any], environ: Mapping[str, str], directory: str | None
) -> tuple[dict[str, Any], str]:
    """The options of a backend, settled, with what a process's variables say where they don't; and what to tell of
    variables that are left out. Raises ConfigError as `settled`.
    """
    variables = VARIABLES.get(backend, {})
    found = {option: value for option, value in said(backend, environ).items() if option not in options}
    if _ADDRESS in found:
        found[_ADDRESS] = f"env:{variables[_ADDRESS]}"  # which is settled as one that is given
    secret = [option for option, value in found.items() if secrets.has_password(value)]
    kept = {option: value for option, value in found.items() if option not in secret}
    told = ""
    if secret:
        names = ", ".join(variables[option] for option in secret)
        told = f"{names}: no option of {backend}, for options are kept in files, and this has a password in an address"
    return settled(backend, {**kept, **options}, environ, directory), told


def named(address: str) -> tuple[str, str] | None:
    """The variable that an address names, and what it has to be but for its password, "" for anything; None for one
    that names none.
    """
    reference = secrets.reference(address)
    if reference is None or reference[0] != "env":
        return None
    variable, _, known = reference[1].partition("=")
    return variable, known


def handed_over(environ: Mapping[str, str]) -> frozenset[str]:
    """The variables whose values go as options, so that a daemon has no use for them: its next run may have others."""
    names = {name: option for variables in VARIABLES.values() for option, name in variables.items()}
    return frozenset(
        name for name, option in names.items() if option != _ADDRESS or not secrets.has_password(environ.get(name))
    )


def settled(
    backend: str, options: Mapping[str, Any], environ: Mapping[str, str], directory: str | None
) -> dict[str, Any]:
    """The options with what depends on the process said as it is for any: what is relative made absolute, and
    `env:NAME` of an address replaced by what this process has there, but for a password. In a directory that has gone
    (None) nothing is relative: raises ConfigError.
    """
    try:
        return {key: _settled(key, value, environ, directory) for key, value in options.items()}
    except LookupError as error:
        raise ConfigError(
            f"backend {backend!r}: {error} is relative, and the current directory has gone: give an absolute path"
        ) from error


def _settled(key: str, value: Any, environ: Mapping[str, str], directory: str | None) -> Any:
    if not isinstance(value, str) or not value:
        return value
    if key == _ADDRESS:
        return _settled_address(value, environ, directory)
    if key == _CREDENTIALS:
        return _file(value, directory)
    secret = secrets.reference(value) if secrets.is_secret(key) else None
    if secret is not None and secret[0] == "file":
        return f"file:{_file(secret[1], directory)}"
    return value


def _settled_address(value: str, environ: Mapping[str, str], directory: str | None) -> str:
    uri = value
    if (reference := named(value)) is not None:
        variable, known = reference
        uri = environ.get(variable, "")
        if known or not uri:
            return value  # the daemon has it, or nobody
        if secrets.has_password(uri):  # and the daemon is to have this one, not another's
            return f"env:{variable}={secrets.without_passwords(uri, '')}"
    return value if secrets.has_password(uri) else _address(uri, directory)


def _address(uri: str, directory: str | None) -> str:
    """An address of MLflow's, as MLflow and SQLAlchemy read it."""
    if (found := _SQLITE.fullmatch(uri)) is not None:
        start, path, query = found.groups()
        if path.startswith("file:") and _FILE_URI.search(query):
            start, path = f"{start}file:", path.removeprefix("file:")
        return uri if path == ":memory:" else f"{start}{_absolute(path, directory)}{query}"
    if uri.startswith("file:"):
        place = re.sub("^//(?=[^/]+$)", "", uri.removeprefix("file:"))  # a host without a path is meant as one
        return uri if place.startswith("/") else f"file://{_absolute(place, directory and quote(directory))}"
    return uri if _SCHEME.match(uri) or uri in _NAMED_PLACES else _absolute(uri, directory)


def _file(path: str, directory: str | None) -> str:
    return path if path.startswith("~") else _absolute(path, directory)


def _absolute(path: str, directory: str | None) -> str:
    """Raises LookupError in a directory that has gone."""
    if path.startswith("/"):
        return path
    if directory is None:
        raise LookupError(path)
    return posixpath.normpath(posixpath.join(directory, path))
