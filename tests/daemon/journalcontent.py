"""Everything that a journal tells, and what it should tell."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from asynclogd.entries import Commit
from asynclogd.journal import Journal
from asynclogd.points import Item
from tests.daemon.tables import identity


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """A path for one example of Hypothesis."""
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "journal.sqlite"


def content(journal: Journal) -> dict[str, Any]:
    """Everything that a journal tells, comparable."""
    return {
        "inputs": [repr(entry) for entry in journal.inputs(0)],
        "items": [(offset, identity(item)) for offset, item in journal.items(0, 1 << 30)],
        "streams": [repr(stream) for stream in journal.streams()],
        "cursors": sorted((name, repr(cursor)) for name, cursor in journal.cursors().items()),
        "dead letters": [repr(letter) for letter in journal.dead_letters()],
        "facts": sorted((name, repr(fact)) for name, fact in journal.facts().items()),
        "snapshot": journal.snapshot(),
        "last offset": journal.last_offset,
    }


def written(commits: list[Commit]) -> dict[str, Any]:
    """What `content` should be after some commits."""
    inputs = [entry for commit in commits for entry in commit.inputs]
    items: list[Item] = [item for commit in commits for item in commit.items]
    streams = {stream.id: stream for commit in commits for stream in commit.streams}
    cursors = {name: cursor for commit in commits for name, cursor in commit.cursors.items()}
    facts = {name: fact for commit in commits for name, fact in commit.facts.items()}
    letters = {repr(letter): letter for commit in commits for letter in commit.dead_letters}
    snapshot, count = None, 0
    for commit in commits:
        count += len(commit.inputs)
        snapshot = snapshot if commit.snapshot is None else (count, commit.snapshot)
    return {
        "inputs": [repr(entry) for entry in enumerate(inputs, 1)],
        "items": [(offset, identity(item)) for offset, item in enumerate(items, 1)],
        "streams": [repr(streams[number]) for number in sorted(streams)],
        "cursors": sorted((name, repr(cursor)) for name, cursor in cursors.items()),
        "dead letters": sorted(letters, key=lambda text: (letters[text].backend, letters[text].offset)),
        "facts": sorted((name, repr(fact)) for name, fact in facts.items()),
        "snapshot": snapshot,
        "last offset": len(items),
    }
