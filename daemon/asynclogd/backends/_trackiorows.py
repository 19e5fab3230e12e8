"""The rows of one run in trackio's SQLite database, and the run's config."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import datetime, timezone
from typing import Any

import orjson
from trackio.sqlite_storage import SQLiteStorage
from trackio.utils import RESERVED_KEYS

from asynclogd.backends._files import TakenOut
from asynclogd.backends.base import StartOverError
from asynclogd.points import Points

MOST_PENDING = 100_000
"""Values that wait for the flush."""

_WAIT = 30.0
"""Seconds for others that write to the database."""

_CONFIG = "config"
"""The log id's end of an empty row: trackio knows of a run by its rows, and takes a config with rows only."""


def key(name: str) -> str:
    """A series' name as `Run.log` has it: trackio's own keys, and what looks like one moved away, have two underscores
    more.
    """
    return f"__{name}" if name in RESERVED_KEYS or name.startswith("__") else name


def name_of(key: str) -> str:
    """The name that has this key."""
    return key.removeprefix("__")


class Rows:
    """What the run has, in the order of its rows' numbers, which are their log ids."""

    def __init__(
        self, project: str, name: str, run_id: str, count: int | None, kept: int | None, taken_out: TakenOut
    ) -> None:
        """Keep the first `count` rows of the run, or None: nothing, its config neither. Raises ValueError for a project
        that trackio doesn't take, StartOverError where fewer than `kept` rows are left.
        """
        SQLiteStorage.validate_project_name(project)
        self.run_id = run_id
        self._project, self._name = project, name
        self._count = count or 0
        self._metrics: list[dict[str, Any]] = []
        self._steps: list[int] = []
        self._times: list[str] = []
        self._pending = 0
        self._path = SQLiteStorage.init_db(project)
        known = SQLiteStorage.get_run_config(project, name, run_id=run_id) if count is not None else None
        self._config: dict[str, Any] = dict(known or {})
        self._config_is_new = False
        with self._database() as database:
            database.execute(
                "DELETE FROM metrics WHERE run_id = ? AND log_id BETWEEN ? AND ?",
                (run_id, self._log_id(self._count), self._log_id(10**15 - 1)),
            )
            if count is None:
                database.execute("DELETE FROM configs WHERE run_id = ?", (run_id,))
            (self.kept,) = database.execute(
                "SELECT count(*) FROM metrics WHERE run_id = ? AND log_id <> ?", (run_id, self._log_id(_CONFIG))
            ).fetchone()
            """how many rows the database has"""
        self._taken_out = taken_out
        if count is None:
            taken_out.clear()
        elif not taken_out.explains(self.kept, kept):
            raise StartOverError(f"{self._path} has {self.kept} rows of {kept} of the run {run_id}")

    def append_points(self, points: Points) -> None:
        """A row for each step; those of a revision replace what there is of their names and steps."""
        keys = [key(name) for name in points.names]
        if points.revision:
            self._take_out(dict.fromkeys(points.steps.tolist(), keys))
        for step, at, values in points.rows():
            self._append(dict(zip(keys, values, strict=True)), step, at)

    def append_value(self, name: str, step: int, at: float, value: Any) -> None:
        """A row of one value, as trackio keeps it."""
        self._append({key(name): value}, step, at)

    def configure(self, values: Mapping[str, Any], *, keep: bool = False) -> None:
        """Take new and changed values of the config; `keep`: those that are there stay."""
        new = {name: value for name, value in values.items() if not (keep and name in self._config)}
        self._config.update(new)
        self._config_is_new |= bool(new)

    def rewind(self, step: int) -> None:
        """Delete the rows of that step and later ones."""
        self._insert()
        self._taken_out.note()
        with self._database() as database:
            gone = database.execute(
                "DELETE FROM metrics WHERE run_id = ? AND step >= ? AND log_id <> ?",
                (self.run_id, step, self._log_id(_CONFIG)),
            )
            self.kept -= gone.rowcount

    def flush(self) -> int:
        """Insert what was taken. How many rows there have been."""
        self._insert()
        if self._config_is_new:
            SQLiteStorage.bulk_log(
                self._project,
                self._name,
                [{}],
                steps=[0],
                timestamps=[self._config["_Created"]],
                config=self._config,
                log_ids=[self._log_id(_CONFIG)],
                run_id=self.run_id,
            )
            self._config_is_new = False
        self._taken_out.flushed()
        return self._count

    def _append(self, metrics: dict[str, Any], step: int, at: float) -> None:
        self._metrics.append(metrics)
        self._steps.append(step)
        self._times.append(datetime.fromtimestamp(at, timezone.utc).isoformat(timespec="microseconds"))
        self._pending += len(metrics)
        if self._pending >= MOST_PENDING:
            self._insert()

    def _insert(self) -> None:
        if not self._metrics:
            return
        count = len(self._metrics)
        SQLiteStorage.bulk_log(
            self._project,
            self._name,
            self._metrics,
            steps=self._steps,
            timestamps=self._times,
            log_ids=[self._log_id(at) for at in range(self._count, self._count + count)],
            run_id=self.run_id,
        )
        self._count += count
        self.kept += count
        self._metrics, self._steps, self._times, self._pending = [], [], [], 0

    def _take_out(self, keys_of: Mapping[int, list[str]]) -> None:
        """Take values out of the rows that have them."""
        self._insert()
        self._taken_out.note()
        with self._database() as database:
            for step, keys in keys_of.items():
                found = database.execute(
                    "SELECT id, metrics FROM metrics WHERE run_id = ? AND step = ?", (self.run_id, step)
                ).fetchall()
                for row, text in found:
                    metrics = orjson.loads(text)
                    kept = {name: value for name, value in metrics.items() if name not in keys}
                    if not kept and metrics:
                        self.kept -= database.execute("DELETE FROM metrics WHERE id = ?", (row,)).rowcount
                    elif len(kept) < len(metrics):
                        database.execute("UPDATE metrics SET metrics = ? WHERE id = ?", (orjson.dumps(kept), row))

    def _log_id(self, number: int | str) -> str:
        return f"{self.run_id}-{number:015d}" if isinstance(number, int) else f"{self.run_id}-{number}"

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        """A transaction."""
        with closing(sqlite3.connect(self._path, timeout=_WAIT)) as database, database:
            yield database
