"""Weights & Biases: series as history, hyperparameters as config, final values as summary, media as its own objects.

What is written is a `.wandb` file, W&B's own format for offline runs, so that opening it at a position undoes what came
after: no point is missing and none is there twice. `wandb sync` uploads it; with mode online W&B's uploader does that
while the file grows (_wandbupload.py). wandb-core never has anything that is not in the file.

    <own_dir>/offline-run-<time>-<id>/run-<id>.wandb    the run
    <own_dir>/offline-run-<time>-<id>/files/media/...   what its media objects name
    <own_dir>/asynclog-run.json                         its id
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence

import msgspec

from asynclogd.backends import _wandbplace
from asynclogd.backends._join import joined
from asynclogd.backends._wandbfiles import Files
from asynclogd.backends._wandbnames import project_name, spelt
from asynclogd.backends._wandbplace import Mode
from asynclogd.backends._wandbrun import RunFile
from asynclogd.backends._wandbupload import Upload
from asynclogd.backends.base import (
    Backend,
    BackendConfig,
    Item,
    Media,
    Params,
    Points,
    Position,
    Rewind,
    RunEnd,
    RunInfo,
    StartOverError,
    Summary,
)

__all__ = ["WandbBackend", "WandbConfig"]

log = logging.getLogger(__name__)

# What W&B makes of them: finished, failed, killed.
_EXIT_CODES = {"success": 0, "failed": 1, "interrupted": 255, "killed": 255}


class WandbConfig(BackendConfig, frozen=True):
    """Where an option is not given, W&B's own variable holds (asynclog_proto/trackers.py). `mode`: "online", "offline"
    or "disabled"; by default online when there are credentials for `host`. `credentials_file`: one with the API key,
    instead of WANDB_API_KEY or netrc. `project` is asynclog's by default. `id`: one of its own by default; a run that
    W&B has already goes on. `log_model`: checkpoints are artifacts. `fsync`: a flush survives power loss too.
    """

    mode: Mode = ""
    host: str = ""
    credentials_file: str = ""
    project: str = ""
    entity: str = ""
    name: str = ""
    id: str = ""
    group: str = ""
    job_type: str = ""
    notes: str = ""
    tags: tuple[str, ...] = ()
    log_model: bool = False
    fsync: bool = False


class WandbBackend(Backend):
    """NaN and infinities are kept. A rewind removes superseded points from the file; W&B keeps those that it has got.
    No `default_rate_limit`: W&B limits requests, and its uploader makes few and slows down by itself.
    """

    kinds = frozenset({"points", "media", "params", "summary", "rewind", "end"})
    requires = ("wandb", "wandb")
    Config = WandbConfig
    config: WandbConfig

    def __init__(self, config: WandbConfig) -> None:
        config = msgspec.structs.replace(config, **_wandbplace.said(msgspec.to_builtins(config), os.environ))
        super().__init__(config)
        self._online = _wandbplace.online(config.mode, config.host, config.credentials_file, os.environ)
        self._disabled = config.mode == "disabled"
        self.local = not self._online  # type: ignore[misc] # by its options
        if self._disabled:
            self.kinds = frozenset()  # type: ignore[misc] # as above: nothing is offered
        self._file: RunFile | None = None
        self._files: Files
        self._upload: Upload | None = None
        self._sent = False
        """whether all of a run that has ended is at W&B"""

    def open(self, run: RunInfo, position: Position | None) -> None:
        """Cut the file to the position, or begin one. Raises StartOverError when it is not there any more, and
        PermanentError for a file of credentials that can't be used.
        """
        self.close("")
        if self._disabled:
            log.warning("%s: W&B is disabled (mode, or WANDB_MODE): nothing is written for it", run.name)
            return
        found = _wandbplace.identity(run.own_dir, self.config.id)
        config = self.config
        whose = {"run_id": found.id, "project": project_name(config.project or run.project), "entity": config.entity}
        self._files = Files(whose, run.read_blob, log_model=config.log_model, fsync=config.fsync)
        self._upload = self._uploader(run)
        fields = {
            "display_name": config.name or run.name,
            "run_group": config.group,
            "job_type": config.job_type,
            "notes": config.notes,
            "tags": config.tags,
            "resume": bool(config.id),  # one that is there already goes on: W&B's uploader asks for its last row
        }
        file = RunFile(run.own_dir, {**whose, **fields}, fsync=config.fsync)
        if position is None:
            file.begin(found.directory)
            where = f"online, at {config.host or 'W&B'}" if self._online else "offline: `wandb sync` uploads it"
            log.info("%s is W&B run %s, %s; %s", run.name, found.id, where, file.path)
        elif not position:
            raise StartOverError("W&B was disabled until now")
        else:
            file.go_on(position)
        self._file = file
        self._sent = file.ended  # its position was given when it was
        if self._upload is not None and file.begun and not file.ended:
            self._upload.ensure(file.path)

    def write(self, batch: Sequence[Item]) -> None:
        """Take items. Raises PermanentError for media that are not of their form, OSError for files."""
        file = self._open_file()
        for item in joined(batch):
            records = file.records(item)
            self._sent = False
            if isinstance(item, Points):
                records.points(item)
            elif isinstance(item, Media):
                self._files.show(records, item)
            elif isinstance(item, Params):
                records.config(item.values)
            elif isinstance(item, Summary):
                records.summary(item.values)
            elif isinstance(item, Rewind):
                if self._upload is not None:
                    self._upload.stop()  # what it keeps beside the file goes along
                file.rewind(item.step)
            elif isinstance(item, RunEnd):
                file.end(_EXIT_CODES.get(item.status, 1))

    def flush(self) -> Position:
        """Append to the file; after the run's end, wait until W&B has all of it. Raises OSError, UploadError."""
        if self._disabled:
            return {}
        file = self._open_file()
        position = file.flush()
        if self._upload is not None and file.begun and not self._sent:
            self._upload.ensure(file.path)
            self._upload.check()
            if file.ended:
                self._upload.finish()
                self._sent = True
        return position

    def trouble(self) -> str:
        """What W&B's uploader has met since it was asked last, or has given up on."""
        upload = self._upload
        return upload.trouble() if upload is not None else ""

    def close(self, status: str) -> None:
        """Let go of the file, and end an upload that is under way."""
        if self._upload is not None:
            self._upload.stop()
            self._upload = None
        if self._file is not None:
            self._file.close()
            if status:  # its end is past the last rewind
                self._file.remove_others()
            self._file = None

    def _uploader(self, run: RunInfo) -> Upload | None:
        if not self._online:
            return None
        login = _wandbplace.login(self.config.host, self.config.credentials_file, os.environ)
        return Upload(login, run.own_dir / "upload")

    def spelt(self, name: str) -> str:
        """A name as W&B takes it."""
        return spelt(name)

    def look(self, run: RunInfo) -> str:
        """The project at W&B, or the command that uploads the run."""
        if not self._online:
            return f"wandb sync {run.own_dir}/offline-run-*"
        host = _wandbplace.address(self.config.host, os.environ)
        place = "/".join(filter(None, [self.config.entity, project_name(self.config.project or run.project)]))
        return f"{host.replace('//api.wandb.ai', '//wandb.ai')}, project {place}, run {self.config.name or run.name}"

    def _open_file(self) -> RunFile:
        if self._file is None:
            raise RuntimeError("the backend is not open")
        return self._file
