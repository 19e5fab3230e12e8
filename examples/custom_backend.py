"""A backend of your own: every point in an SQLite table, which can be asked questions.

    python examples/custom_backend.py

The class works in the daemon, on a thread of its own, so it may take its time. The daemon is another process: it is
told the file and the class, and loads this file; what is below `if __name__ == "__main__"` stays the training's.
See ./asynclog/custom/<run name>/table/ after it.
"""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from contextlib import closing

import asynclog
from asynclogd.backends.base import Backend, BackendConfig, Item, Points, Position, RunInfo


class TableConfig(BackendConfig, frozen=True):
    """Options have types; a wrong one is an error that names it."""

    file: str = "points.sqlite"


class TableBackend(Backend):
    """One row for each step of a series. What it is offered again (after a kill, a resume) replaces the row."""

    kinds = frozenset({"points"})  # there are also params, summary, rewind and end
    Config = TableConfig
    config: TableConfig

    def open(self, run: RunInfo, position: Position | None) -> None:  # noqa: ARG002 - nothing to undo
        self.pending: list[Item] = []
        self.table = sqlite3.connect(run.own_dir / self.config.file)
        self.table.execute(
            "CREATE TABLE IF NOT EXISTS points (name TEXT, step INTEGER, value REAL, ranks INTEGER,"
            " PRIMARY KEY (name, step))"
        )

    def write(self, batch: Sequence[Item]) -> None:
        self.pending.extend(batch)

    def flush(self) -> Position:
        points = (point for item in self.pending if isinstance(item, Points) for point in item)
        rows = [(point.name, point.step, point.value, point.ranks) for point in points]
        with self.table:  # one transaction
            self.table.executemany("INSERT OR REPLACE INTO points VALUES (?, ?, ?, ?)", rows)
        self.pending.clear()
        return {}  # where it stands: nothing to remember, since a row that comes again replaces itself

    def close(self, status: str) -> None:  # noqa: ARG002 - the run's, or "" while it goes on
        if "table" in vars(self):  # it may never have been opened
            self.table.close()


def main() -> None:
    backends = {"csv": None, "table": {"class": f"{__file__}:TableBackend", "file": "digits.sqlite"}}
    with asynclog.init(project="custom", backends=backends) as run:
        for step in range(1000):
            run.log({"loss": 1 / (step + 1) + random.random() / 100}, step)
    with closing(sqlite3.connect(run.dir / "table" / "digits.sqlite")) as table:
        step, best = table.execute("SELECT step, min(value) FROM points WHERE name = 'loss'").fetchone()
    print(f"the lowest of 1000 losses is {best:.4f}, at step {step}")


if __name__ == "__main__":
    main()
