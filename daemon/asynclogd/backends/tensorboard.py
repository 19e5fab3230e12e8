"""TensorBoard: event files that TensorBoard and EventAccumulator read, written without TensorBoard's writer.

In the run's directory, sorted as TensorBoard reads them:

    events.out.tfevents.0.asynclog-session                   hyperparameters and status, replaced when they change
    events.out.tfevents.<unix time>.<host>.<pid>.asynclog    everything in its order; grows; one Event a step row
    <step>/<tag>/, projector_config.pbtxt                    embeddings

TensorBoard believes the first session summary that it meets in a run, so the whole of it stands in the first file.
A TensorBoard that is already past that file meets the first hyperparameters and the end in the second.

The position is the second file's name and length, so opening there undoes what came after: no point is missing
and none is there twice.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import socket
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated

import msgspec

from asynclog_proto.errors import ProtocolError
from asynclog_proto.records import Scalar
from asynclogd.backends import _tfevents, _tfmedia, _tfprojector
from asynclogd.backends._files import AppendFile, replace, set_aside
from asynclogd.backends._join import joined
from asynclogd.backends._tfhparams import Session, session_end, session_from_file, session_start, text
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
    StartOverError,
    Summary,
)
from asynclogd.media import forms

__all__ = ["TensorBoardBackend", "TensorBoardConfig"]

log = logging.getLogger(__name__)

_SESSION = "events.out.tfevents.0.asynclog-session"
_NAME = re.compile(r"events\.out\.tfevents\.(\d+)\..*\.asynclog[^/]*")
_TEMPLATES = 32


class TensorBoardConfig(BackendConfig, frozen=True):
    """`fsync`: a flush survives power loss too, not only the end of this process. `summary_prefix`: what the tags of
    final values begin with. `filename_suffix`: what the growing file's name ends with.
    """

    fsync: bool = False
    summary_prefix: str = "summary/"
    filename_suffix: Annotated[str, msgspec.Meta(pattern=r"^[^/]*$", max_length=100)] = ""


class TensorBoardBackend(Backend):
    """Scalars as float32 (what event files hold; larger ones are infinite), params in HParams, media in their tabs."""

    kinds = frozenset({"points", "media", "params", "summary", "rewind", "end"})
    Config = TensorBoardConfig
    config: TensorBoardConfig

    def __init__(self, config: TensorBoardConfig) -> None:
        super().__init__(config)
        self._dir = Path()
        self._run: RunInfo | None = None
        self._file: AppendFile | None = None
        self._session = Session(0.0)
        self._session_saved = True
        self._started = False
        """whether the growing file has a session_start"""
        self._templates: OrderedDict[tuple[str, ...], _tfevents.Template] = OrderedDict()

    def open(self, run: RunInfo, position: Position | None) -> None:
        """Go on in the position's file, or begin one and put those that no position knows of aside. Raises
        StartOverError where the first file is spoiled.
        """
        self._dir, self._run = run.own_dir, run
        self._load_session(keep=position is not None)
        kept = self._kept_file(position)
        _set_aside_after(run.own_dir, "" if position is None else str(position["file"]))
        if kept is not None and position is not None:
            self._file = AppendFile(kept, int(position["bytes"]), fsync=self.config.fsync)
            self._started = bool(position.get("session"))
        else:
            self._begin(position)

    def look(self, run: RunInfo) -> str:
        """TensorBoard, of this run."""
        return f"tensorboard --logdir {run.own_dir}"

    def write(self, batch: Sequence[Item]) -> None:
        """Take items; the growing file is not touched yet."""
        for item in joined(batch):
            if isinstance(item, Points):
                self._points(item)
            elif isinstance(item, Media):
                self._media(item)
            elif isinstance(item, Params):
                self._params(item.values)
            elif isinstance(item, Summary):
                self._summary(item.values)
            elif isinstance(item, Rewind):
                self._rewind(item.step)
            elif isinstance(item, RunEnd):
                self._end(item.status)

    def flush(self) -> Position:
        """Append the events. Raises OSError: flush again."""
        file = self._open_file()
        if not self._session_saved:
            replace(self._dir / _SESSION, [self._session.to_file()], fsync=self.config.fsync)
            self._session_saved = True
        return {"file": file.path.name, "bytes": file.flush(), "session": self._started}

    def close(self, status: str) -> None:
        """Let go of the file."""
        del status
        if self._file is not None:
            self._file.close()
            self._file = None

    def _points(self, points: Points) -> None:
        row = self._template(points.names)
        for chunk in _tfevents.scalar_events(row, points.steps, points.times, points.values):
            self._open_file().append(chunk)

    def _media(self, item: Media) -> None:
        data = self._blob(item)
        if item.form == forms.EMBEDDING:
            _tfprojector.place(self._dir, item, data, fsync=self.config.fsync)
            return
        for rest in _tfmedia.events(item, data):
            self._open_file().append(_tfevents.event(item.time, item.step, rest))

    def _blob(self, item: Media) -> bytes:
        if self._run is None or self._run.read_blob is None:
            raise PermanentError(f"{item.name}: this run has no media store")
        try:
            return self._run.read_blob(item.blob)
        except ProtocolError as error:  # an OSError passes, as on a disk that fails for a while
            raise PermanentError(f"{item.name}: its {item.form} can't be read: {error}") from error

    def _template(self, names: tuple[str, ...]) -> _tfevents.Template:
        row = self._templates.get(names)
        if row is None:
            row = self._templates[names] = _tfevents.template(names)
            if len(self._templates) > _TEMPLATES:
                self._templates.popitem(last=False)
        else:
            self._templates.move_to_end(names)
        return row

    def _params(self, values: Mapping[str, Scalar]) -> None:
        self._session.params.update({name: value for name, value in values.items() if value is not None})
        self._session_saved = False
        if not self._started:
            self._start_session()

    def _start_session(self) -> None:
        self._started = True
        self._event(0, session_start(self._session.params, self._session.start_time))

    def _summary(self, values: Mapping[str, Scalar]) -> None:
        """Numbers as scalars `summary/<name>`, which the HParams tab offers as metrics; the rest as texts."""
        for name, value in values.items():
            tag = f"{self.config.summary_prefix}{name}"
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            self._event(0, _tfevents.scalar(tag, _float(value)) if number else text(tag, str(value)))

    def _rewind(self, step: int) -> None:
        self._open_file().append(_tfevents.restart(time.time(), step))
        _tfprojector.forget(self._dir, step, fsync=self.config.fsync)
        if self._session.end is not None:
            # Its end stays in the growing file; the first file is read first.
            self._session.end = ("running", time.time())
            self._session_saved = False
        if self._session.params and step <= 0:
            self._start_session()  # the restart has discarded it

    def _end(self, status: str) -> None:
        now = time.time()
        self._session.end = (status, now)
        self._session_saved = False
        self._event(0, session_end(status, now))

    def _event(self, step: int, rest: bytes) -> None:
        self._open_file().append(_tfevents.event(time.time(), step, rest))

    def _open_file(self) -> AppendFile:
        if self._file is None:
            raise RuntimeError("the backend is not open")
        return self._file

    def _kept_file(self, position: Position | None) -> Path | None:
        """The position's file when all of what it had is there."""
        if position is None:
            return None
        path = self._dir / Path(str(position["file"])).name
        length = path.stat().st_size if path.is_file() else -1
        if length >= position["bytes"]:
            return path
        what = "is gone" if length < 0 else f"has {length} bytes of {position['bytes']}"
        log.warning("%s %s; what it lost stays in the journal, and a new file goes on from here", path, what)
        return None

    def _begin(self, position: Position | None) -> None:
        """A new file, later by its name than the one before."""
        now = int(time.time())
        if position is not None and (found := _NAME.fullmatch(str(position["file"]))):
            now = max(now, int(found[1]) + 1)
        name = f"events.out.tfevents.{now:010}.{socket.gethostname()}.{os.getpid()}.asynclog"
        path = self._dir / f"{name}{self.config.filename_suffix}"
        try:
            self._file = AppendFile(path, 0, fsync=self.config.fsync)
            self._file.append(_tfevents.event(time.time(), 0, _tfevents.VERSION))
            self._file.flush()
        except OSError:
            with contextlib.suppress(OSError):  # each try would leave one more that is empty
                path.unlink()
            raise
        self._started = False

    def _load_session(self, *, keep: bool) -> None:
        self._session = Session(time.time())
        self._session_saved = True
        path = self._dir / _SESSION
        if not keep:
            path.unlink(missing_ok=True)
        elif path.is_file():
            try:
                self._session = session_from_file(path.read_bytes())
            except ValueError as error:
                raise StartOverError(f"{path} is spoiled: {error}") from error


def _float(value: Scalar) -> float:
    try:
        return float(value or 0)
    except OverflowError:
        return float("inf") if isinstance(value, int) and value > 0 else float("-inf")


def _set_aside_after(directory: Path, name: str) -> None:
    """Files later than `name` were begun by a process that died before their first position was committed."""
    found = _NAME.fullmatch(name)
    newest = int(found[1]) if found else -1
    for path in directory.iterdir():
        other = _NAME.fullmatch(path.name)
        if other and int(other[1]) > newest and path.name != name:
            aside = set_aside(path)
            log.info("%s was not committed; its points come again (kept as %s)", path, aside)
