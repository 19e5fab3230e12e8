"""MLflow's client: its import, what somebody removed or deleted, and what its refusals are at the seam."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asynclogd.backends._mlflowplace import is_sqlite
from asynclogd.backends.base import PermanentError, ThrottledError

DELETED = "deleted"
"""The lifecycle stage of what MLflow can restore."""

_ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    # The sink retries, with its own patience, and other runs do not wait for it.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    # It writes to a directory no more unless it is told that this is meant: whoever names one means it.
    "MLFLOW_ALLOW_FILE_STORE": "true",
}
_PERMANENT = frozenset({"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "MALFORMED_REQUEST"})
_THROTTLED = frozenset({"REQUEST_LIMIT_EXCEEDED", "RESOURCE_EXHAUSTED", "TEMPORARILY_UNAVAILABLE"})
_CREDENTIALS = frozenset({"UNAUTHENTICATED", "CUSTOMER_UNAUTHORIZED", "PERMISSION_DENIED"})
_TOO_MANY = re.compile(r"too many (429|503) error responses")
"""What urllib3 says when its retry met the same again."""

_WHAT_TO_SET = (
    "MLflow refuses the credentials: set MLFLOW_TRACKING_TOKEN, or MLFLOW_TRACKING_USERNAME and "
    "MLFLOW_TRACKING_PASSWORD, where the daemon is started"
)


def prepare() -> None:
    """Import MLflow, with its telemetry off and its migrations quiet."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import mlflow  # noqa: F401 - it sets its loggers up

    for name in ("alembic", "mlflow"):
        logging.getLogger(name).setLevel(logging.WARNING)


def client_of(uri: str) -> Any:
    """A client. An SQLite file that was removed is made anew: MLflow keeps one connection to it for all, and would go
    on with what nobody can see.
    """
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri)
    if is_sqlite(uri):
        from mlflow.store.db.utils import _initialize_tables
        from mlflow.tracking._tracking_service.utils import _get_store
        from sqlalchemy.engine import make_url

        file = (make_url(uri).database or "").removeprefix("file:")
        if file and file != ":memory:" and not Path(file).exists():
            engine = _get_store(uri).engine
            engine.dispose()
            _initialize_tables(engine)
    return client


def experiment_of(client: Any, name: str, place: str | None) -> str:
    """The id of an experiment, which is created if need be, its artifacts at `place`. Raises PermanentError for one
    that was deleted.
    """
    found = client.get_experiment_by_name(name)
    if found is None:
        with contextlib.suppress(Exception):  # another run may have created it by now: the next line tells
            return str(client.create_experiment(name, artifact_location=place))
        found = client.get_experiment_by_name(name)
    if found is None:
        raise RuntimeError(f"MLflow has no experiment {name!r} and did not let it be created")
    if found.lifecycle_stage == DELETED:
        raise PermanentError(
            f"MLflow's experiment {name!r} was deleted: restore it (mlflow experiments restore), remove it for good "
            "(mlflow gc), or set the option 'experiment'"
        )
    return str(found.experiment_id)


@contextlib.contextmanager
def translated(*, opening: bool = False) -> Iterator[None]:
    """MLflow's refusals as PermanentError, a 429 or 503 as ThrottledError (a Retry-After was waited for by MLflow's
    own retry); anything else may be tried again. Credentials that are refused say what to set: no item is at fault, so
    that this is permanent in `open` alone.
    """
    from mlflow.exceptions import MlflowException

    try:
        yield
    except MlflowException as error:
        if error.error_code in _CREDENTIALS:
            told = f"{_WHAT_TO_SET} ({error})"
            raise (PermanentError(told) if opening else PermissionError(told)) from error
        if error.error_code in _PERMANENT:
            raise PermanentError(str(error)) from error
        if error.error_code in _THROTTLED or _TOO_MANY.search(str(error)):
            raise ThrottledError(str(error)) from error
        if (why := _unreachable(error)) is not None:
            raise ConnectionError(f"MLflow's server can't be reached: {why}") from error
        raise


def _unreachable(error: BaseException) -> str | None:
    """Why there was no connection, without what MLflow, requests and urllib3 say around it."""
    from requests.exceptions import ConnectionError as NoConnectionError

    behind = error.__context__
    if not isinstance(behind, NoConnectionError):
        return None
    return str(getattr(behind.args[0] if behind.args else None, "reason", behind))
