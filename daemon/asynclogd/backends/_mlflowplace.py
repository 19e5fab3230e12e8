"""Where MLflow keeps a run: which tracking URI, said by an option, by MLflow's own variable, or by nobody."""

from __future__ import annotations

import os

from asynclog_proto import places, trackers
from asynclog_proto.secrets import without_passwords
from asynclogd.backends.base import PermanentError, RunInfo


def by_variable() -> str:
    """What MLFLOW_TRACKING_URI of the daemon says, "" for nothing, as an option would have it: absolute, and as `env:`
    where there is a password.
    """
    options, _ = trackers.with_said("mlflow", {}, os.environ, places.current_directory())
    return str(options.get("tracking_uri", ""))


def had(address: str) -> str:
    """An address as the daemon has it; "" where the variable that is named is not there, or has another one."""
    named = trackers.named(address)
    if named is None:
        return address
    variable, known = named
    uri = os.environ.get(variable, "")
    return uri if not known or without_passwords(uri, "") == known else ""


def place(address: str, run: RunInfo) -> str:
    """The tracking URI, for "" that of a file of the run's. Raises PermanentError where the daemon has it not."""
    uri = had(address) if address else own_file(run)
    if not uri:
        variable, known = trackers.named(address) or (address, "")
        what = (
            f"the daemon's {variable} is not {known}" if os.environ.get(variable) else f"the daemon has no {variable}"
        )
        raise PermanentError(f"tracking_uri: {what}: set it there, or have a daemon of your own (asynclog run)")
    return uri


def seen(address: str, run: RunInfo) -> str:
    """`place`, of a run that nobody has open: one with a file of its own began there."""
    own = run.own_dir / "mlflow.db"
    return had(address or ("" if own.exists() else by_variable())) or own_file(run)


def own_file(run: RunInfo) -> str:
    """The URI of the run's own file."""
    return f"sqlite:///{run.own_dir / 'mlflow.db'}"


def is_sqlite(uri: str) -> bool:
    """Whether it is SQLAlchemy's address of an SQLite file, with its driver or without."""
    return uri.startswith(("sqlite:", "sqlite+"))


def is_local(uri: str) -> bool:
    """Whether it stays on this machine."""
    return uri.startswith(("file:", "/")) or is_sqlite(uri)
