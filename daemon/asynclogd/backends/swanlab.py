"""SwanLab, offline: a run directory as its SDK writes it, which `swanlab sync DIR` sends to its cloud or a server.

The SDK has one run for a process, takes over its exception hook, its SIGINT and its output, and can't go on with a run
that it has closed. So its parts are used below that: its records (protobuf) and its file format, a log, in which the
position is a length. What a crash left past it is cut off.

`swanlab sync` takes the first value of a series at a step and leaves out later ones. What late values replace, and
steps that are run again, are therefore left out of the file, which is written anew for that (see _swanlabfile.py).
"""

from __future__ import annotations

import logging
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from asynclogd.backends._files import replace, set_aside
from asynclogd.backends._join import joined
from asynclogd.backends._swanlabnames import project_spelt, spelt
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

if TYPE_CHECKING:
    from asynclogd.backends._swanlabfile import RunFile
    from asynclogd.backends._swanlabmedia import Items

__all__ = ["SwanlabBackend", "SwanlabConfig"]

log = logging.getLogger(__name__)

LAST_STEP = 1 << 48
"""`swanlab sync` leaves out later steps, and those before 0."""


class SwanlabConfig(BackendConfig, frozen=True):
    """What the run has in SwanLab: `project` (default: the run's), `workspace`, `group`, `tags`, `description`.
    `fsync`: a flush survives power loss too, not only the end of this process.
    """

    project: str = ""
    workspace: str = ""
    group: str = ""
    tags: tuple[str, ...] = ()
    description: str = ""
    fsync: bool = False


class SwanlabBackend(Backend):
    """Infinities are kept in the file; `swanlab sync` sends them as NaN. Params and final values are in the config."""

    kinds = frozenset({"points", "media", "params", "summary", "rewind", "end"})
    requires = ("swanlab", "swanlab")
    Config = SwanlabConfig
    config: SwanlabConfig

    def __init__(self, config: SwanlabConfig | None = None) -> None:
        super().__init__(config)
        self._file: RunFile | None = None
        self._media: Items
        self._run_id = ""
        self._facts = Path()
        self._known: dict[str, Any] = {}
        self._known_is_new = False
        self._warned = False

    def open(self, run: RunInfo, position: Position | None) -> None:
        """Cut the run's file to the position, or begin one. Raises StartOverError where the file has lost its tail, or
        the config is gone or spoiled.
        """
        from asynclogd.backends._swanlabfile import RunFile
        from asynclogd.backends._swanlabmedia import Items
        from asynclogd.backends._swanlabrecords import config_record, start_record

        self._facts = run.own_dir / "files" / "config.yaml"
        self._facts.parent.mkdir(exist_ok=True)
        self._media = Items(run)
        if position is not None:
            if not self._facts.is_file():
                raise StartOverError(f"{self._facts} is gone")
            self._known, self._known_is_new = _read(self._facts), False
            self._run_id = str(position["run"])
            self._file = RunFile(_path(run, self._run_id), fsync=self.config.fsync)
            self._file.go_on(position)
            return
        for path in run.own_dir.glob("set-aside.run-*.swanlab"):
            path.unlink()
        for path in run.own_dir.glob("run-*.swanlab"):
            log.info("%s was not committed; its points come again (kept as %s)", path, set_aside(path))
        self._run_id = uuid.uuid4().hex[:21]  # as long as the SDK's own
        self._known = {"asynclog.world_size": run.world}
        self._save()
        self._file = RunFile(_path(run, self._run_id), fsync=self.config.fsync)
        facts = {name: getattr(self.config, name) for name in ("workspace", "group", "description")}
        project = project_spelt(self.config.project or run.project)
        start = start_record(id=self._run_id, project=project, name=run.name, tags=self.config.tags, **facts)
        self._file.begin([start, config_record(self._facts)])

    def spelt(self, name: str) -> str:
        """A name as SwanLab takes it."""
        return spelt(name)

    def look(self, run: RunInfo) -> str:
        """The command that sends the run."""
        return f"swanlab sync {run.own_dir}"

    def write(self, batch: Sequence[Item]) -> None:
        """Take items; the file is not touched yet, or appended to when they are many."""
        file = self._opened()
        for item in joined(batch):
            if isinstance(item, Points):
                self._check_steps(item)
                file.append_points(item, [spelt(name) for name in item.names])
            elif isinstance(item, Media):
                file.append(self._media.record(item, spelt(item.name)))
            elif isinstance(item, Params):
                self._learn(item.values)
            elif isinstance(item, Summary):
                self._learn({f"summary.{name}": value for name, value in item.values.items()})
            elif isinstance(item, Rewind):
                file.rewind(item.step)
            elif isinstance(item, RunEnd):
                file.end(item.status)

    def flush(self) -> Position:
        """Write what was taken. Raises OSError: flush again."""
        file = self._opened()
        if self._known_is_new:
            self._save()
        return {"run": self._run_id, **file.flush()}

    def close(self, status: str) -> None:
        """Let go of the file."""
        del status
        if self._file is not None:
            self._file.close()
            self._file = None

    def _learn(self, values: Mapping[str, Any]) -> None:
        self._known.update(values)
        self._known_is_new = True

    def _save(self) -> None:
        """As the SDK's Config has it: each value with its place in the order and a description."""
        import yaml

        places = enumerate(self._known.items())
        entries = {name: {"value": value, "desc": "", "sort": at} for at, (name, value) in places}
        text = yaml.safe_dump(entries, allow_unicode=True, default_flow_style=False)
        replace(self._facts, [text.encode()], fsync=self.config.fsync)
        self._known_is_new = False

    def _check_steps(self, points: Points) -> None:
        if not self._warned and len(points) and (points.steps.min() < 0 or points.steps.max() > LAST_STEP):
            log.warning("steps before 0 and after 2^48 are in the file, but `swanlab sync` leaves them out")
            self._warned = True

    def _opened(self) -> RunFile:
        if self._file is None:
            raise RuntimeError("the backend is not open")
        return self._file


def _path(run: RunInfo, run_id: str) -> Path:
    return run.own_dir / f"run-{run_id}.swanlab"


def _read(path: Path) -> dict[str, Any]:
    """The values of a config that is whole: it ends with a line's end, and no place in its order is missing."""
    import yaml  # the SDK needs it

    text = path.read_bytes()
    try:
        entries = yaml.safe_load(text)
        values, places = ({name: entry[key] for name, entry in entries.items()} for key in ("value", "sort"))
    except (yaml.YAMLError, AttributeError, KeyError, TypeError) as error:
        raise StartOverError(f"{path} is spoiled: {error}") from error
    if not text.endswith(b"\n") or sorted(places.values()) != list(range(len(places))):
        raise StartOverError(f"{path} is spoiled: it is cut")
    return values
