"""A picture of the delivery that is still to be done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from asynclogd.cli.render import console

if TYPE_CHECKING:
    from typing_extensions import Self

POLL_SECONDS = 0.1


class DrainProgress:
    """One bar a run and backend: values delivered of values journaled."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        self._progress = Progress(*columns, console=console, transient=True)
        self._tasks: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def show(self, runs: Iterable[Mapping[str, Any]]) -> None:
        """Take the runs of a report."""
        for run in runs:
            for name, row in run["ledger"]["backends"].items():
                title = f"{run['name']}: {name}"
                if title not in self._tasks:
                    self._tasks[title] = self._progress.add_task(title)
                total = run["ledger"]["journaled"]
                self._progress.update(self._tasks[title], total=total, completed=total - row["pending"])
