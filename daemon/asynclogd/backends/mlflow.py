"""MLflow: series as metrics, hyperparameters as params, images and the like as artifacts, final values and the rest as
tags.

Without a tracking_uri the run goes to an SQLite file of its own. A metric's timestamp is its point's time in ms, the
same whenever it is sent, and MLflow's SQL stores keep one row for each (key, timestamp, step, value): a point that
is sent again after a crash changes nothing. (Its old file store, and services that only look like MLflow, may keep
both.) A run is found again by a token in the backend's directory, should a crash hide its id.
"""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from asynclog_proto.records import Scalar
from asynclogd.backends._files import replace
from asynclogd.backends._mlflowclient import DELETED, client_of, experiment_of, prepare, translated
from asynclogd.backends._mlflowfiles import Files
from asynclogd.backends._mlflownames import spelt
from asynclogd.backends._mlflowplace import by_variable, had, is_local, is_sqlite, place, seen
from asynclogd.backends.base import (
    Backend,
    BackendConfig,
    Item,
    Media,
    Params,
    PermanentError,
    Points,
    Position,
    RunEnd,
    RunInfo,
    StartOverError,
    Summary,
)

__all__ = ["MlflowBackend", "MlflowConfig"]

METRICS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
PARAM_LENGTH = 6000
TAG_LENGTH = 8000

_STATUS = {"success": "FINISHED", "failed": "FAILED", "interrupted": "KILLED", "killed": "KILLED"}


EXPERIMENT_VARIABLE = "MLFLOW_EXPERIMENT_NAME"
"""MLflow's own, of the daemon."""


class MlflowConfig(BackendConfig, frozen=True):
    """`tracking_uri`: an MLflow server, database or directory, or `env:NAME` for what that variable says, of the daemon
    where it has a password (default: MLFLOW_TRACKING_URI, or an SQLite file in the run's directory); `experiment`:
    default MLFLOW_EXPERIMENT_NAME, or the project; `run_name`: default the run's; `run_id`: a run that is there already
    and is written to; `parent_run_id`: the run below which this one is shown; `tags`: set on the run.
    """

    tracking_uri: str = ""
    experiment: str = ""
    run_name: str = ""
    run_id: str = ""
    parent_run_id: str = ""
    tags: dict[str, str] = msgspec.field(default_factory=dict)


class MlflowBackend(Backend):
    """NaN is kept, and infinities by servers that can: SQL stores make them +-1.8e308. A rewind deletes nothing
    (MLflow can't): superseded points stay, earlier in time. What a parameter changes to goes to a tag.
    """

    kinds = frozenset({"points", "media", "params", "summary", "end"})
    requires = ("mlflow", "mlflow")
    Config = MlflowConfig
    config: MlflowConfig

    def __init__(self, config: MlflowConfig) -> None:
        super().__init__(config)
        said = config.tracking_uri or by_variable()
        self.local = not said or is_local(had(said))  # type: ignore[misc] # by its options
        self._client: Any = None
        self._run_id = ""
        self._uri = ""
        self._begun: dict[str, str] = {}
        self._running = True
        self._params: dict[str, str] = {}
        self._files: Files

    def open(self, run: RunInfo, position: Position | None) -> None:
        """Find the run, or create it. Raises StartOverError where it was deleted, PermanentError where that was one of
        the user's, and for credentials that are refused.
        """
        prepare()
        self._uri = place(self._address(position), run)
        with translated(opening=True):
            self._client = client_of(self._uri)
            self._run_id = str(position["run"]) if position is not None else self._find_or_create(run)
            found = self._there(self._run_id)
        self._running = found.info.status == "RUNNING"
        self._params = dict(found.data.params)
        self._files = Files(self._client, found, run.read_blob)

    def write(self, batch: Sequence[Item]) -> None:
        """Send it. Raises PermanentError for what MLflow calls invalid."""
        try:
            with translated():
                self._write(batch)
        except PermanentError as error:
            with translated():
                found = self._client.get_run(self._run_id)
            if found.info.lifecycle_stage == DELETED:  # no item is at fault: `open` says what is to be done
                raise RuntimeError(f"MLflow's run {self._run_id} was deleted") from error
            raise

    def _write(self, batch: Sequence[Item]) -> None:
        metrics: list[Any] = []
        for item in batch:
            if isinstance(item, Points):
                metrics.extend(_metrics(item))
                continue
            self._log_metrics(metrics)
            metrics = []
            if isinstance(item, Media):
                self._files.log(item)
            elif isinstance(item, Params):
                self._log_params(item.values)
            elif isinstance(item, Summary):
                self._set_tags({f"summary.{name}": str(value) for name, value in item.values.items()})
            elif isinstance(item, RunEnd):
                self._client.set_terminated(self._run_id, _STATUS.get(item.status, "FAILED"))
                self._running = False
        self._log_metrics(metrics)

    def flush(self) -> Position:
        """Everything was sent by `write`."""
        return {"run": self._run_id, **self._begun}

    def close(self, status: str) -> None:
        """Let go of the client; the run's status is set by its end alone."""
        del status
        self._client = None

    def spelt(self, name: str) -> str:
        """A name as MLflow takes it."""
        return spelt(name)

    def look(self, run: RunInfo) -> str:
        """MLflow's pages: those of a server, or a server to start."""
        uri = self._uri or seen(self.config.tracking_uri, run)
        what = f"experiment {self._experiment(run)}"
        return f"mlflow ui --backend-store-uri {uri}" if is_local(uri) else f"{uri}, {what}"

    def _address(self, position: Position | None) -> str:
        """The option's, else the one that the run began with, which the position has; "" for a file of the run's."""
        if self.config.tracking_uri:
            return self.config.tracking_uri
        began = by_variable() if position is None else str(position.get("uri", ""))
        self._begun = {"uri": began} if began else {}
        return began

    def _experiment(self, run: RunInfo) -> str:
        return self.config.experiment or os.environ.get(EXPERIMENT_VARIABLE) or run.project

    def _find_or_create(self, run: RunInfo) -> str:
        if self.config.run_id:
            return self._taken_up(self.config.run_id)
        token_file = run.own_dir / "token"
        if token_file.is_file():
            token = token_file.read_text()
        else:
            token = uuid.uuid4().hex
            replace(token_file, [token.encode()], fsync=False)
        name = self._experiment(run)
        # With a database MLflow's default would be ./mlruns in whatever directory the daemon was started.
        artifacts = (run.own_dir / "artifacts").as_uri() if is_sqlite(self._uri) else None
        experiment = experiment_of(self._client, name, artifacts)
        found = self._client.search_runs([experiment], f"tags.`asynclog.token` = '{token}'", max_results=1)
        if found:
            return str(found[0].info.run_id)
        tags = {"asynclog.token": token, "asynclog.project": run.project, "asynclog.world_size": str(run.world)}
        if self.config.parent_run_id:
            tags["mlflow.parentRunId"] = self.config.parent_run_id
        name = self.config.run_name or run.name
        created = self._client.create_run(experiment, run_name=name, tags={**tags, **self.config.tags})
        return str(created.info.run_id)

    def _taken_up(self, run_id: str) -> str:
        """A run that someone else has made."""
        self._there(run_id)
        self._run_id = run_id
        self._set_tags(self.config.tags)
        if self.config.run_name:
            self._client.update_run(run_id, name=self.config.run_name)
        return run_id

    def _there(self, run_id: str) -> Any:
        """The run. Where it is gone ours begins anew, and of the option `run_id` the user is told."""
        from mlflow.exceptions import MlflowException

        try:
            found = self._client.get_run(run_id)
        except MlflowException as error:
            if error.error_code != "RESOURCE_DOES_NOT_EXIST":
                raise
            what = str(error)
        else:
            if found.info.lifecycle_stage != DELETED:
                return found
            what = f"run {run_id} was deleted"
        if self.config.run_id:
            raise PermanentError(f"option 'run_id': {what}: restore it (mlflow runs restore), or give another")
        raise StartOverError(f"MLflow: {what}")

    def _log_metrics(self, metrics: list[Any]) -> None:
        if metrics and not self._running:  # a resumed run
            self._client.update_run(self._run_id, status="RUNNING")
            self._running = True
        for at in range(0, len(metrics), METRICS_PER_BATCH):
            self._client.log_batch(self._run_id, metrics=metrics[at : at + METRICS_PER_BATCH])

    def _log_params(self, values: Mapping[str, Scalar]) -> None:
        from mlflow.entities import Param

        texts = {spelt(name): _cut(str(value), PARAM_LENGTH) for name, value in values.items()}
        new = [Param(key, text) for key, text in texts.items() if key not in self._params]
        for at in range(0, len(new), PARAMS_PER_BATCH):
            self._client.log_batch(self._run_id, params=new[at : at + PARAMS_PER_BATCH])
            self._params.update({param.key: param.value for param in new[at : at + PARAMS_PER_BATCH]})
        # MLflow's params never change.
        self._set_tags({f"param.{key}": text for key, text in texts.items() if self._params[key] != text})

    def _set_tags(self, texts: Mapping[str, str]) -> None:
        from mlflow.entities import RunTag

        tags = [RunTag(spelt(key), _cut(text, TAG_LENGTH)) for key, text in texts.items()]
        for at in range(0, len(tags), PARAMS_PER_BATCH):
            self._client.log_batch(self._run_id, tags=tags[at : at + PARAMS_PER_BATCH])


def _metrics(points: Points) -> Iterator[Any]:
    from mlflow.entities import Metric

    keys = [spelt(name) for name in points.names]
    # Of two values at one step, MLflow shows the later: a revision, even if its time is that of what it replaces.
    later = 1 if points.revision else 0
    for step, at, values in points.rows():
        timestamp = math.floor(at * 1000) + later
        for key, value in zip(keys, values, strict=True):
            yield Metric(key, value, timestamp, step)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
