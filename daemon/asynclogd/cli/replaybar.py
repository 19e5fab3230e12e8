"""A bar: items done of items there are, and what keeps a backend."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from asynclogd.cli.render import console

if TYPE_CHECKING:
    from typing_extensions import Self


POLL_SECONDS = 0.1

STOPPED = 130
"""The exit code after Ctrl-C, as shells have it."""


class ReplayBar:
    """Drawn on a terminal, and on nothing else."""

    def __init__(self, title: str, total: int) -> None:
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[trouble]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task(escape(title), total=total, trouble="")

    def show(self, done: int, trouble: str = "") -> None:
        """So many items are done; `trouble` is why it waits."""
        text = f"[yellow]{escape(trouble[:80])}[/]" if trouble else ""
        self._progress.update(self._task, completed=done, trouble=text)

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()
