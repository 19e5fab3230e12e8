"""Trackio: a run of a project in trackio's own directory, where `trackio show` finds it. No Space, server or upload.

Rows are inserted by trackio's `SQLiteStorage.bulk_log`, which is what its own runs come down to: one transaction for a
flush instead of two calls and a queue for a row. Each row has a log id of ours, its number in the run. The position is
how many there have been: `open` deletes later ones, and trackio ignores an id that it has.

trackio has no call that takes points out of a run, so that is SQL here: rows past the position, of steps that are run
again, and values that later ones replace.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from asynclogd.backends._files import TakenOut, replace
from asynclogd.backends._join import joined
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

if TYPE_CHECKING:
    from asynclogd.backends._trackiomedia import Shown
    from asynclogd.backends._trackiorows import Rows

__all__ = ["TrackioBackend", "TrackioConfig"]

_QUIET = {"DO_NOT_TRACK": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "GRADIO_ANALYTICS_ENABLED": "False"}

_REMOTE = ("TRACKIO_BUCKET_ID", "TRACKIO_DATASET_ID", "TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")
"""With these trackio would fetch from the Hub what it keeps there before it opens a local project."""


class TrackioConfig(BackendConfig, frozen=True):
    """`dir`: trackio's directory, one for all runs of a daemon (default: TRACKIO_DIR in the daemon's environment, or
    where trackio keeps its projects without it); `project`: default the run's; `group`: trackio's group of the run.
    """

    dir: str = ""
    project: str = ""
    group: str = ""


class TrackioBackend(Backend):
    """NaN and infinities are kept. Params, final values and the status are the run's config. Media are in the
    dashboard where trackio has their kind, and the project's files otherwise.
    """

    kinds = frozenset({"points", "media", "params", "summary", "rewind", "end"})
    requires = ("trackio", "trackio")
    Config = TrackioConfig
    config: TrackioConfig

    def __init__(self, config: TrackioConfig | None = None) -> None:
        super().__init__(config)
        self._rows: Rows | None = None
        self._shown: Shown

    def open(self, run: RunInfo, position: Position | None) -> None:
        """Find the project or create it, and delete what the run has past the position. Raises PermanentError for a
        project that trackio doesn't take, and where it would not use SQLite; StartOverError where the run has lost
        rows.
        """
        _import(self.config.dir)
        from asynclogd.backends._trackiomedia import Shown
        from asynclogd.backends._trackiorows import Rows

        project = self.config.project or run.project
        run_id = str(position["run"]) if position is not None else _token(run.own_dir)
        count, kept = (int(position["rows"]), position.get("kept")) if position is not None else (None, None)
        with _translated():
            self._rows = Rows(project, run.name, run_id, count, kept, TakenOut(run.own_dir / "taken-out"))
        self._rows.configure(
            {"_Created": _now(), "_Group": self.config.group or None, "asynclog.world_size": run.world}, keep=True
        )
        self._shown = Shown(project, run)

    def write(self, batch: Sequence[Item]) -> None:
        """Take items. Many rows are inserted at once, others with `flush`."""
        rows = self._opened()
        for item in joined(batch):
            if isinstance(item, Points):
                rows.append_points(item)
            elif isinstance(item, Media):
                if (value := self._shown.value(item)) is not None:
                    rows.append_value(item.name, item.step, item.time, value)
            elif isinstance(item, Params):
                rows.configure({_plain(name): value for name, value in item.values.items()})
            elif isinstance(item, Summary):
                rows.configure({f"summary.{name}": value for name, value in item.values.items()})
            elif isinstance(item, Rewind):
                rows.rewind(item.step)
            elif isinstance(item, RunEnd):
                rows.configure({"asynclog.status": item.status})

    def flush(self) -> Position:
        """Insert what was taken. Raises sqlite3.Error or OSError: flush again."""
        rows = self._opened()
        return {"run": rows.run_id, "rows": rows.flush(), "kept": rows.kept}

    def close(self, status: str) -> None:
        """Let go of what was not flushed; no connection is held open."""
        del status
        self._rows = None

    def look(self, run: RunInfo) -> str:
        """Trackio's pages, of the project."""
        directory, project = self.config.dir or os.environ.get("TRACKIO_DIR"), self.config.project or run.project
        return f"{f'TRACKIO_DIR={directory} ' if directory else ''}trackio show --project {project}"

    def _opened(self) -> Rows:
        if self._rows is None:
            raise RuntimeError("the backend is not open")
        return self._rows


def _import(directory: str) -> None:
    """Import trackio, which reads its directory then and only then."""
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    for name in _REMOTE:
        os.environ.pop(name, None)
    if directory and "trackio" not in sys.modules:
        os.environ["TRACKIO_DIR"] = directory
    from trackio import utils

    if directory and Path(directory) != utils.TRACKIO_DIR:
        raise PermanentError(
            f"option 'dir' is {directory}, but trackio keeps one directory for a process: "
            f"{utils.TRACKIO_DIR} in this daemon"
        )
    if os.environ.get("TRACKIO_STORAGE_MODE") != "sqlite" and utils.is_network_filesystem(utils.TRACKIO_DIR):
        raise PermanentError(
            f"{utils.TRACKIO_DIR} is on a network file system, where trackio keeps no SQLite: "
            "set the option 'dir' to a local disk, or TRACKIO_STORAGE_MODE=sqlite where one machine alone uses it"
        )


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except ValueError as error:  # of a project's name
        raise PermanentError(str(error)) from error


def _token(own_dir: Path) -> str:
    """The run's id in trackio: the same after a crash before the first commit."""
    path = own_dir / "token"
    if not path.is_file():
        replace(path, [uuid.uuid4().hex.encode()], fsync=False)
    return path.read_text()


def _plain(name: str) -> str:
    """A parameter's name in trackio's config, whose own begin with an underscore: the first character of those is
    percent-encoded, and of those that would look like that.
    """
    return f"%{ord(name[0]):02X}{name[1:]}" if name.startswith(("_", "%5F", "%25")) else name


def _now() -> str:
    return datetime.now(timezone.utc).isoformat()
