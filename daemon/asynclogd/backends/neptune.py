"""Neptune: what is left of it. Its hosted service closed on 2026-03-05; neptune-scale still writes in offline mode, and
`neptune sync` sends that to a server of one's own. So does this, at once, with `online = true`.

Series are attributes `metrics/<name>`, parameters `params/<name>`, final values `summary/<name>`, media
`media/<name>`: an attribute has one type in Neptune, so that a parameter and a series of one name are two.
neptune-scale's Run is not used: see _neptunedb.py and _neptuneserver.py. Nothing is spawned, no thread started.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

from asynclog_proto.records import Scalar
from asynclogd.backends import _neptunemedia
from asynclogd.backends._files import replace
from asynclogd.backends._neptunedb import RunDb
from asynclogd.backends._neptunelineage import Lineage, folder
from asynclogd.backends._neptunemedia import Bins, File, Text
from asynclogd.backends._neptunenames import late, spelt
from asynclogd.backends._neptuneserver import Server
from asynclogd.backends._neptuneupdates import assigned, check_steps, log, snapshot, tagged
from asynclogd.backends._sources import source_of
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

__all__ = ["NeptuneBackend", "NeptuneConfig"]


class NeptuneConfig(BackendConfig, frozen=True):
    """`project`: "workspace/name", default NEPTUNE_PROJECT, then "asynclog/<the run's project>"; `experiment`: default
    the run's name; `tags`; `online`: send to the server that the token names, default false; `credentials_file`: a file
    that holds the API token, instead of NEPTUNE_API_TOKEN.
    """

    project: str = ""
    experiment: str = ""
    tags: tuple[str, ...] = ()
    online: bool = False
    credentials_file: str = ""


class NeptuneBackend(Backend):
    """Values are float64, NaN and infinities too. Each point once after any kill in the database; online, Neptune knows
    a point that is sent again by its series and step. Late points and revisions are in series beside (late/1/...).
    """

    kinds = frozenset({"points", "media", "params", "summary", "rewind", "end"})
    requires = ("neptune_scale", "neptune")
    Config = NeptuneConfig
    config: NeptuneConfig

    def __init__(self, config: NeptuneConfig) -> None:
        super().__init__(config)
        self.local = not config.online  # type: ignore[misc] # by its options
        self._run: RunInfo
        self._project = self._key = ""
        self._lineage: Lineage | None = None
        self._server: Server | None = None

    def open(self, run: RunInfo, position: Position | None) -> None:
        """Begin, or go on at the position in the databases of its runs. Raises PermanentError for a token or a
        project that the server refuses.
        """
        self.close("")
        _prepare()
        self._run = run
        self._project = _project(self.config, run)
        self._key = str(position["key"]) if position is not None else _key(run.own_dir)
        if position is None:
            for earlier in run.own_dir.glob("run-*"):
                shutil.rmtree(earlier)
        if self.config.online:
            self._server = Server(self._project, _token(self.config), welcome=position is not None)
        self._lineage = Lineage(self._make, None if position is None else position["runs"])
        if position is None:
            self._assign({"asynclog/world_size": run.world, "asynclog/name": run.name})
            if self.config.tags:
                self._lineage.last.save(tagged(self.config.tags, time.time()))
            self.flush()  # a server that refuses project or token says so now

    def write(self, batch: Sequence[Item]) -> None:
        """Take items. Raises PermanentError for steps and media that Neptune has no place for."""
        for item in batch:
            if isinstance(item, Points):
                log(item, self._open_lineage())
            elif isinstance(item, Media):
                self._log_media(item)
            elif isinstance(item, Params):
                self._assign({f"params/{spelt(name)}": value for name, value in item.values.items()})
            elif isinstance(item, Summary):
                self._assign({f"summary/{spelt(name)}": value for name, value in item.values.items()})
            elif isinstance(item, Rewind):
                self.flush()  # what is superseded is let go of
                self._open_lineage().rewind(item.step, item.generation)
                self._assign({"asynclog/status": "running"})
            elif isinstance(item, RunEnd):
                self._assign({"asynclog/status": item.status})

    def flush(self) -> Position:
        """All is in the databases; online, and taken by the server. Raises PermanentError for what it refused."""
        runs = self._open_lineage().flush()
        self._send()
        return {"key": self._key, "runs": runs}

    def close(self, status: str) -> None:
        """Let go of databases and connections."""
        del status
        lineage, self._lineage = self._lineage, None
        server, self._server = self._server, None
        if lineage is not None:
            lineage.close()
        if server is not None:
            server.close()

    def spelt(self, name: str) -> str:
        """A name as Neptune takes it."""
        return spelt(name)

    def look(self, run: RunInfo) -> str:
        """The project at the server, or the command that sends the databases."""
        if not self.config.online:
            return f"for db in {run.own_dir}/run-*/*.sqlite3; do neptune sync $db; done"
        return f"Neptune, project {_project(self.config, run)}, run {self.config.experiment or run.name}"

    def _make(self, generation: int, fork: tuple[str, int] | None, position: Sequence[int] | None) -> RunDb:
        run_id = f"{self._key}-{generation}" if generation else self._key
        experiment = self.config.experiment or self._run.name
        return RunDb(folder(self._run.own_dir, generation), self._project, run_id, experiment, fork, position)

    def _open_lineage(self) -> Lineage:
        if self._lineage is None:
            raise RuntimeError("the backend is not open")
        return self._lineage

    def _send(self) -> None:
        if self._server is not None:
            for run in self._open_lineage():
                self._server.send(run)

    def _log_media(self, item: Media) -> None:
        check_steps([item.step])
        path = f"media/{spelt(item.name)}"
        if (source := source_of(item)) is not None:
            for further, file in _neptunemedia.files(source):
                self._append(item, path + further, file)
            return
        if self._run.read_blob is None:
            raise PermanentError("there is no media store to read from")
        self._append(item, path, _neptunemedia.shown(item, self._run.read_blob(item.blob)))

    def _append(self, item: Media, path: str, value: Text | Bins | File) -> None:
        run = self._open_lineage().owner(item.step)
        pile, at = run.steps.place(path, item.step, item.time)
        update = snapshot(at, item.step)
        target = update.append[late(path, pile)]
        if isinstance(value, Text):
            target.string = value.text
        elif isinstance(value, Bins):
            target.histogram.bin_edges.extend(value.edges)
            target.histogram.counts.values.extend(value.counts)
        else:
            request = run.lay_down(late(path, pile), item.step, _neptunemedia.identity(item, path), value)
            target.file_ref.path, target.file_ref.mime_type = request.destination, request.mime_type
            target.file_ref.size_bytes = request.size_bytes
        run.save(update)

    def _assign(self, values: Mapping[str, Scalar]) -> None:
        for update in assigned(values, time.time()):
            self._open_lineage().last.save(update)


def _prepare() -> None:
    """The SDK's settings, before its first import: it raises instead of dropping, and says nothing on the console."""
    os.environ.setdefault("NEPTUNE_LOG_FAILURE_ACTION", "raise")
    os.environ.setdefault("NEPTUNE_LOGGER_LEVEL", "none")
    with warnings.catch_warnings():  # its import changes the process's filters
        import neptune_scale.sync.operations_repository  # noqa: F401 - for what its import does


def _project(config: NeptuneConfig, run: RunInfo) -> str:
    project = config.project or os.environ.get("NEPTUNE_PROJECT") or f"asynclog/{run.project.replace('/', '_')}"
    workspace, _, name = project.partition("/")
    if not workspace or not name or "/" in name:
        raise PermanentError(f"a project of Neptune is 'workspace/name', not {project!r} (option project)")
    return project


def _token(config: NeptuneConfig) -> str:
    try:
        file = config.credentials_file
        found = Path(file).expanduser().read_text("utf-8") if file else os.environ.get("NEPTUNE_API_TOKEN", "")
    except OSError as error:
        raise PermanentError(f"credentials_file: {error}") from error
    if not found.strip():
        raise PermanentError("Neptune wants an API token: NEPTUNE_API_TOKEN, or the option credentials_file")
    return found.strip()


def _key(directory: Path) -> str:
    """The run's id, the same when `open` is tried again."""
    file = directory / "key"
    if not file.is_file():
        replace(file, [uuid.uuid4().hex.encode()], fsync=False)
    return file.read_text()
