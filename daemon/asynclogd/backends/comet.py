"""Comet: series as metrics, hyperparameters as parameters, media as the assets of Comet's own tabs.

With an API key an experiment is written online; without one it becomes an archive for `comet upload`, which is
written without the SDK: OfflineExperiment keeps what it was given in threads and a temporary directory, and has an
archive only when it ends. Online, the SDK's connection is used and not its Experiment: it says which request failed,
starts no thread and looks at nothing of this process.
"""

from __future__ import annotations

import configparser
import contextlib
import math
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from asynclog_proto.records import Scalar
from asynclogd.backends import _cometmedia
from asynclogd.backends._cometarchive import Archive
from asynclogd.backends._cometmedia import Asset
from asynclogd.backends._cometnames import spelt
from asynclogd.backends._cometserver import Server
from asynclogd.backends._files import replace
from asynclogd.backends._sources import source_of
from asynclogd.backends._taken import Taken
from asynclogd.backends.base import (
    Backend,
    BackendConfig,
    Item,
    Media,
    Params,
    PermanentError,
    Points,
    Position,
    Rewind,
    RunEnd,
    RunInfo,
    Summary,
)
from asynclogd.media import forms

__all__ = ["CometBackend", "CometConfig"]

VALUE_LENGTH = 1000
"""Characters of a parameter's text: what the SDK cuts at (config_constants.py, MAXIMAL_VALUE_LENGTH)."""

POINTS_PER_SECOND = 180.0
"""Comet's docs, Rate limits and performance: 12,000 metrics a minute online, of all names; none in archives. A burst is
part of the minute.
"""

_NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class CometConfig(BackendConfig, frozen=True):
    """`online`: default whether there is an API key; `project`: default COMET_PROJECT_NAME, or the run's; `workspace`:
    default COMET_WORKSPACE, or the key's; `credentials_file`: a file that holds the API key, instead of COMET_API_KEY;
    `tags`: of the experiment; `url`: of a server of one's own, instead of COMET_URL_OVERRIDE.
    """

    online: bool | None = None
    project: str = ""
    workspace: str = ""
    credentials_file: str = ""
    tags: tuple[str, ...] = ()
    url: str = ""


class Place(Protocol):
    """Where an experiment is written: an Archive or a Server."""

    key: str

    def metrics(self, rows: Iterator[tuple[int, int, Mapping[str, Any], int | None]]) -> None: ...
    def params(self, values: Mapping[str, Any]) -> None: ...
    def others(self, values: Mapping[str, Any]) -> None: ...
    def graph(self, text: str) -> None: ...
    def upload(self, asset: Asset, at: int) -> None: ...
    def rewind(self, step: int, generation: int) -> None: ...
    def end(self, status: str) -> None: ...
    def flush(self) -> Position: ...
    def close(self) -> None: ...


class CometBackend(Backend):
    """Values are float64, NaN and infinities the texts that Comet's SDK sends. In an archive each point is once, and
    a rewind leaves superseded points out; online a point is there again when it is sent after a crash, and superseded
    ones stay.
    """

    kinds = frozenset({"points", "media", "params", "summary", "rewind", "end"})
    Config = CometConfig
    config: CometConfig

    def __init__(self, config: CometConfig) -> None:
        super().__init__(config)
        self._online = has_key(config) if config.online is None else config.online
        self.local = not self._online  # type: ignore[misc] # by its options
        self.requires = ("comet_ml", "comet") if self._online else None  # type: ignore[misc] # as above
        if self._online and not (config.url or _said("url_override")):
            self.points_per_second = POINTS_PER_SECOND  # type: ignore[misc] # as above
            self.default_rate_limit = {"*": POINTS_PER_SECOND}  # type: ignore[misc] # as above: no series has more
        self._run: RunInfo
        self._place: Place | None = None
        self._taken = Taken()

    def open(self, run: RunInfo, position: Position | None) -> None:
        """Begin or go on, where it was begun: online or not."""
        self.close("")
        self._run = run
        online = self._online if position is None else "bytes" not in position
        key = str(position["key"]) if position is not None else _key(run.own_dir)
        self._place = self._server(key, position) if online else self._archive(key, position)
        if position is None:
            self._place.others({"Name": run.name, "asynclog/world_size": run.world})

    def write(self, batch: Sequence[Item]) -> None:
        """Take items. Raises PermanentError for media that are not of their form, and what Comet refuses."""
        for item in batch:
            if isinstance(item, Points):
                self._open_place().metrics(self._rows(item))
            elif isinstance(item, Media):
                self._log_media(item)
            elif isinstance(item, Params):
                self._open_place().params({spelt(key): _text(value) for key, value in item.values.items()})
            elif isinstance(item, Summary):
                self._open_place().others({spelt(key): _text(value) for key, value in item.values.items()})
            elif isinstance(item, Rewind):
                self._open_place().rewind(item.step, item.generation)
            elif isinstance(item, RunEnd):
                self._open_place().others({"asynclog/status": item.status})
                self._open_place().end(item.status)

    def flush(self) -> Position:
        """Online everything was sent by `write`."""
        return self._open_place().flush()

    def close(self, status: str) -> None:
        """Let go; an archive is brought up to date."""
        del status
        place, self._place = self._place, None
        if place is not None:
            place.close()

    def spelt(self, name: str) -> str:
        """A name as Comet takes it."""
        return spelt(name)

    def look(self, run: RunInfo) -> str:
        """The project at Comet, or the command that uploads the archive."""
        if not self._online:
            return f"comet upload {run.own_dir}/*.zip"
        host = self.config.url or _said("url_override") or "https://www.comet.com"
        project, workspace = self._where(run)
        return f"{host}, project {'/'.join(filter(None, [workspace, project]))}, experiment {run.name}"

    def _archive(self, key: str, position: Position | None) -> Archive:
        return Archive(self._run.own_dir, key, *self._where(self._run), self.config.tags, position)

    def _server(self, key: str, position: Position | None) -> Server:
        config, api_key = self.config, _given_key(self.config)
        return Server(key, *self._where(self._run), config.tags, position, api_key, config.url, self._taken)

    def _where(self, run: RunInfo) -> tuple[str, str]:
        """Project and workspace."""
        project = self.config.project or _said("project_name") or run.project
        return project, self.config.workspace or _said("workspace")

    def _open_place(self) -> Place:
        if self._place is None:
            raise RuntimeError("the backend is not open")
        return self._place

    def _rows(self, points: Points) -> Iterator[tuple[int, int, Mapping[str, Any], int | None]]:
        names = [spelt(name) for name in points.names]
        epoch = points.names.index("epoch") if "epoch" in points.names else None
        # Of two values at one step the later is the current one: a revision, even if its time is that of the first.
        later = 1 if points.revision else 0
        for step, at, values in points.rows():
            numbers = dict(zip(names, map(_number, values), strict=True))
            yield step, math.floor(at * 1000) + later, numbers, _whole(values, epoch)

    def _log_media(self, item: Media) -> None:
        place, name, time = self._open_place(), spelt(item.name), math.floor(item.time * 1000)
        if (source := source_of(item)) is not None:
            for each in _cometmedia.files(item, name, source):
                place.upload(each, time)
            return
        if self._run.read_blob is None:
            raise PermanentError("there is no media store to read from")
        data = self._run.read_blob(item.blob)
        if item.form == forms.GRAPH:
            place.graph(_cometmedia.graph_text(data, item.options))
        else:
            place.upload(_cometmedia.asset(item, name, data), time)


def has_key(config: CometConfig) -> bool:
    """Whether an API key is to be had: where Comet has its settings, or in a file of ours."""
    return bool(config.credentials_file or _said("api_key"))


def _said(setting: str) -> str:
    """What Comet's environment variable says, or the file that `comet init` writes; "" for nothing."""
    if given := os.environ.get(f"COMET_{setting.upper()}"):
        return given
    own = configparser.ConfigParser(interpolation=None)
    with contextlib.suppress(configparser.Error, OSError, UnicodeDecodeError):
        own.read(os.environ.get("COMET_CONFIG") or Path.home() / ".comet.config", "utf-8")
    return own.get("comet", setting, fallback="")


def _given_key(config: CometConfig) -> str | None:
    if not config.credentials_file:
        return None
    try:
        return Path(config.credentials_file).expanduser().read_text("utf-8").strip()
    except OSError as error:
        raise PermanentError(f"credentials_file: {error}") from error


def _key(directory: Path) -> str:
    """The experiment's key, the same when `open` is tried again."""
    file = directory / "key"
    if not file.is_file():
        replace(file, [uuid.uuid4().hex.encode()], fsync=False)
    return file.read_text()


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else _NON_FINITE[repr(value)]


def _whole(values: Sequence[float], column: int | None) -> int | None:
    value = math.nan if column is None else values[column]
    return int(value) if value.is_integer() else None


def _text(value: Scalar) -> Scalar:
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, str) and len(value) > VALUE_LENGTH:
        return value[: VALUE_LENGTH - 1] + "…"
    return value
