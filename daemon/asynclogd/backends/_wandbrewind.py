"""A run's file without what was superseded, in a directory beside the old one: a position may still name that."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from asynclogd.backends._wandbfiles import FILES
from asynclogd.backends._wandbnames import STEP
from asynclogd.backends._wandbplace import SYNC_STATE

_NAME = re.compile(r"(?P<run>.*?)(?:\.(?P<times>\d+))?")


@dataclass
class Last:
    """The last value of each series, as JSON, among the rows that stayed."""

    values: dict[str, bytes] = field(default_factory=dict)


def beside(directory: Path) -> Path:
    """A new directory for the run in `directory`, with its files (hard links where there are any)."""
    found = _NAME.fullmatch(directory.name)
    assert found is not None  # it matches any name
    new = directory.with_name(f"{found['run']}.{int(found['times'] or 0) + 1}")
    if new.exists():  # of a life that was killed
        shutil.rmtree(new)
    new.mkdir()
    for state in directory.glob(f"*{SYNC_STATE}"):
        shutil.copy2(state, new)
    if (directory / FILES).is_dir():
        shutil.copytree(directory / FILES, new / FILES, symlinks=True, copy_function=_linked)
    return new


def without(records: Iterable[bytes], step: int, last: Last) -> Iterator[bytes]:
    """The records but the rows of `step` and later, their files, and what the summary says of series: `last` is filled
    with that. Rows keep their `_step`: those that W&B has got already stay the same rows.
    """
    from wandb.proto import wandb_internal_pb2

    held: list[Any] = []
    series: set[str] = set()
    for data in records:
        record = wandb_internal_pb2.Record.FromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            row = {item.nested_key[0]: item.value_json for item in record.history.item}
            series.update(key for key in row if not _is_own(key))
            superseded = int(row[STEP]) >= step
            yield from (each.SerializeToString() for each in held if not (superseded and _named(each, row)))
            if not superseded:
                last.values.update({key: text.encode() for key, text in row.items() if not _is_own(key)})
                yield data
            held = []
        elif kind == "files":
            held.append(record)  # the row that names it may follow
        elif kind == "summary":
            kept = [item for item in record.summary.update if item.nested_key[0] not in series]
            del record.summary.update[:]
            record.summary.update.extend(kept)
            if kept:
                yield record.SerializeToString()
        else:
            yield data
    yield from (each.SerializeToString() for each in held)


def _is_own(key: str) -> bool:
    return key == STEP or key.startswith("_")


def _named(files: Any, row: dict[str, str]) -> bool:
    """Whether a row names the files of a record."""
    return any(f'"{each.path}"' in text for each in files.files.files for text in row.values())


def _linked(source: str, target: str) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:  # a file system without links
        shutil.copy2(source, target)
