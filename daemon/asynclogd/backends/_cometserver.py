"""A Comet experiment on a server, by the requests of Comet's SDK: each one is answered before the next, so that it is
known what was taken.

What the SDK does beside requests is off: hooks in other libraries, reports of its own errors, console output, retries
(the sink has them).
"""

from __future__ import annotations

import io
import logging
import os
import sys
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from asynclogd.backends._cometarchive import REWIND, now
from asynclogd.backends._cometerrors import checked, translated
from asynclogd.backends._cometmedia import Asset
from asynclogd.backends._taken import Taken
from asynclogd.backends.base import PermanentError, Position

VALUES_PER_BATCH = 1000
"""config_constants.py, MESSAGE_BATCH_METRIC_MAX_BATCH_SIZE."""

UPLOAD_TIMEOUT = 60.0
HEARTBEAT = 10.0
"""Seconds: without a heartbeat Comet takes an experiment for one that has stopped."""

_ENVIRONMENT = {
    "COMET_DISABLE_AUTO_LOGGING": "1",
    "COMET_DISABLE_ANNOUNCEMENT": "true",
    "COMET_ERROR_TRACKING_ENABLE": "false",
    "COMET_HTTP_SESSION_RETRY_TOTAL": "0",
    "COMET_GET_OR_ADD_EXPERIMENT_RETRY_TOTAL": "0",
}


class Server:
    """The experiment `key`."""

    def __init__(
        self,
        key: str,
        project: str,
        workspace: str,
        tags: Sequence[str],
        position: Position | None,
        api_key: str | None,
        url: str,
        taken: Taken,
    ) -> None:
        """Create the experiment, or find it. Raises PermanentError for a key or a workspace that Comet refuses."""
        self.key = key
        sdk = _imported()
        config = sdk.config.get_config()
        self._api_key = sdk.config.get_api_key(api_key, config)
        if not self._api_key:
            raise PermanentError("Comet wants an API key: COMET_API_KEY, or the option credentials_file")
        address = url or sdk.config.get_backend_address(config)
        factory = sdk.connection.connection_factory
        self._connection = factory.get_rest_server_connection(self._api_key, key, address)
        self._rest = factory.get_rest_api_client("v2", address, api_key=self._api_key, check_version=False)
        self._session = sdk.connection.http_session.get_comet_http_session(self._api_key, config=config)
        self._figures = 0
        self._taken = taken
        taken.go_back(0 if position is None else position["flushes"])
        self._beat = float("-inf")
        self._goes_on = position is None
        with translated(opening=True):
            if position is None:  # a create that was not committed is found
                self._connection.add_run(project, workspace or None, get_or_create_mode=True)
                if tags:
                    self._connection.add_tags(list(tags))
            else:
                self._connection.get_run(key)

    def metrics(self, rows: Iterable[tuple[int, int, Mapping[str, Any], int | None]]) -> None:
        """Send points: (step, time in ms, {name: value}, epoch or None) for each step."""
        from comet_ml.messages import MetricMessage

        self._goes_on = True
        batch: dict[Hashable, Any] = {}
        for step, at, values, epoch in rows:
            for name, value in values.items():
                key = (name, step, at, value)
                if key not in self._taken:
                    batch[key] = message = MetricMessage(timestamp=at)
                    message.set_metric(name, value, step=step, epoch=epoch)
        keys = list(batch)
        for at in range(0, len(keys), VALUES_PER_BATCH):
            some = keys[at : at + VALUES_PER_BATCH]
            self._send(self._connection.log_metrics_batch, [batch[key] for key in some])
            self._taken.add(some)

    def params(self, values: Mapping[str, Any]) -> None:
        """Send parameters; Comet shows the last value of each."""
        from comet_ml.messages import ParameterMessage

        batch = []
        for name, value in values.items():
            message = ParameterMessage(timestamp=now())
            message.set_param(name, value, source="manual")
            batch.append(message)
        for at in range(0, len(batch), VALUES_PER_BATCH):
            self._send(self._connection.log_parameters_batch, batch[at : at + VALUES_PER_BATCH])

    def others(self, values: Mapping[str, Any]) -> None:
        """Send entries of the tab Other."""
        with translated():
            for name, value in values.items():
                self._rest.log_experiment_other(self.key, name, value)

    def graph(self, text: str) -> None:
        """Send the model's graph."""
        with translated():
            self._rest.set_experiment_model_graph(self.key, text)

    def upload(self, asset: Asset, at: int) -> None:
        """Send a file. Raises OSError when it can't be read."""
        del at
        if asset.identity in self._taken:
            return
        from comet_ml.connection import connection_upload

        params = {**self._ids(), **asset.params}
        if asset.type == "visualization":
            params["figCounter"] = self._figures
            self._figures += 1
        how = {
            "params": params,
            "headers": {},
            "timeout": UPLOAD_TIMEOUT,
            "session": self._session,
            "metadata": dict(asset.metadata) or None,
        }
        url = self._connection.get_upload_url(asset.type)
        with translated():
            if isinstance(asset.content, Path):
                answer = connection_upload.send_file(url, str(asset.content), **how)
            else:
                answer = connection_upload.send_file_like(url, io.BytesIO(asset.content), **how)
            checked(answer)
        self._taken.add([asset.identity])

    def rewind(self, step: int, generation: int) -> None:
        """Say so: Comet can't remove points."""
        self._goes_on = True
        self.others({f"{REWIND}/{generation}": step})

    def end(self, status: str) -> None:
        """The run has ended."""
        self._goes_on, self._beat = False, float("-inf")
        with translated():
            if status == "success":
                self._connection.update_experiment_status(self._connection.run_id, self._connection.project_id, False)
            else:
                error, crashed = f"the run ended: {status}", status == "failed"
                self._rest.update_experiment_error_status(self.key, False, error, has_crashed=crashed)

    def flush(self) -> Position:
        """Everything was sent."""
        if self._goes_on and time.monotonic() - self._beat >= HEARTBEAT:
            self._say_alive()
        return {"key": self.key, "flushes": self._taken.flush()}

    def close(self) -> None:
        """Let go of the connections."""
        for each in (self._connection, self._rest, self._session):
            each.close()

    def _send(self, send: Any, messages: Sequence[Any]) -> None:
        from comet_ml.batch_utils import MessageBatchItem

        with translated():
            send([MessageBatchItem(message) for message in messages], compress=True)

    def _say_alive(self) -> None:
        with translated():
            self._connection.update_experiment_status(self._connection.run_id, self._connection.project_id, True)
        self._beat = time.monotonic()

    def _ids(self) -> dict[str, Any]:
        run, project = self._connection.run_id, self._connection.project_id
        return {"experimentId": self.key, "projectId": project, "runId": run}


def _imported() -> Any:
    """The SDK, quiet. What its import changes in this process is put back."""
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    hook = sys.excepthook
    import comet_ml
    import comet_ml.connection.connection_factory
    import comet_ml.connection.http_session

    sys.excepthook = hook
    logger = logging.getLogger("comet_ml")
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.WARNING)
    return comet_ml
