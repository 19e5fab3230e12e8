"""The runs in tests/daemon/golden: unpacked, and what a version says of them."""

from __future__ import annotations

import zipfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from asynclogd.catalog import JOURNAL
from asynclogd.export import export
from asynclogd.journal import Journal
from asynclogd.ratelimit import RateLimiter
from asynclogd.registry import build

GOLDEN = Path(__file__).parent / "golden"

FORMS = ("csv", "jsonl")
"""The exports whose files are kept."""


def unpacked(version: str, root: Path) -> Path:
    """The run's directory, `<root>/p/run`."""
    run_dir = root / "p" / "run"
    with zipfile.ZipFile(GOLDEN / version / "run.zip") as packed:
        packed.extractall(run_dir)
    return run_dir


def exported(run_dir: Path, form: str, out: Path) -> dict[str, bytes]:
    """The files of an export, by their names."""
    with Journal.open(run_dir / JOURNAL) as journal:
        export(journal, run_dir, form, build(form), RateLimiter({}), out)
    return files(out)


def files(directory: Path) -> dict[str, bytes]:
    """What is in a directory, but for the mark of an export, which names this version."""
    return {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.startswith(".")}


def facts_of(run_dir: Path) -> dict[str, Any]:
    """All of a journal but inputs and items, as JSON has it."""
    with Journal.open(run_dir / JOURNAL) as journal:
        cursors = {name: asdict(cursor) for name, cursor in journal.cursors().items()}
        snapshot = journal.snapshot()
        return {
            "streams": [asdict(stream) for stream in journal.streams()],
            "cursors": {name: {**cursor, "limiter": cursor["limiter"].hex()} for name, cursor in cursors.items()},
            "facts": journal.facts(),
            "dead_letters": [asdict(letter) for letter in journal.dead_letters()],
            "inputs": [
                [entry.cause.name, entry.stream, entry.first_seq, entry.count] for _, entry in journal.inputs(0)
            ],
            "items": journal.last_offset,
            "snapshot": None if snapshot is None else snapshot[0],
        }
