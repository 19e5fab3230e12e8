"""JSON Lines: points.jsonl, one object a line, in the order of events. The fullest of the file formats: times, ranks
and rewinds are in it.

    {"step":7,"time":1767225600.5,"world":2,"ranks":2,"metrics":{"loss":0.5,"lr":0.001}}
    {"step":7,"time":1767225600.5,"world":2,"ranks":{"loss":2,"odd":1},"metrics":{"loss":0.5,"odd":"NaN"}}
    {"step":7,...,"revision":true}      these values replace the ones before, late ones came in
    {"type":"media","name":"samples","step":7,"time":...,"kind":"image","form":"image/png","options":{"width":64,...},
     "file":"media/1.seg","offset":36,"size":5000,"digest":"...","generation":0}     which bytes of which file of a run
    {"params":{"lr":0.001}}   {"summary":{"best":0.9}}   {"rewind":7,"generation":1}   {"end":"success"}

Strict JSON has no NaN and no infinity: they are the strings "NaN", "Infinity" and "-Infinity", which float() in
Python and a cast to DOUBLE in DuckDB read.

The position is the file's length, so opening there undoes what came after.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np

from asynclog_proto.records import Scalar
from asynclogd.backends._files import AppendFile, set_aside
from asynclogd.backends._join import joined
from asynclogd.backends._mediaref import reference
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

__all__ = ["JsonlBackend", "JsonlConfig"]

log = logging.getLogger(__name__)

_NON_FINITE = {"nan": "NaN", "inf": "Infinity", "-inf": "-Infinity"}


class JsonlConfig(BackendConfig, frozen=True):
    """`fsync`: a flush survives power loss too, not only the end of this process."""

    fsync: bool = False


class JsonlBackend(Backend):
    """Everything that a run has, one JSON object a line."""

    kinds = frozenset({"points", "media", "params", "summary", "rewind", "end"})
    Config = JsonlConfig
    config: JsonlConfig

    def __init__(self, config: JsonlConfig) -> None:
        super().__init__(config)
        self._file: AppendFile | None = None

    def open(self, run: RunInfo, position: Position | None) -> None:
        """Cut points.jsonl to the position, or put one that no position knows of aside. Raises StartOverError where it
        has lost lines.
        """
        path = run.own_dir / "points.jsonl"
        length = int(position["bytes"]) if position is not None else 0
        if position is None and (aside := set_aside(path)):
            log.info("%s was not committed; its points come again (kept as %s)", path, aside)
        there = path.stat().st_size if path.is_file() else 0
        if there < length:
            raise StartOverError(f"{path} has {there} bytes of {length}")
        self._file = AppendFile(path, length, fsync=self.config.fsync)

    def write(self, batch: Sequence[Item]) -> None:
        """Take items; the file is not touched yet."""
        file = self._open_file()
        for item in joined(batch):
            file.append(b"".join(line + b"\n" for line in _lines(item)))

    def flush(self) -> Position:
        """Append the lines. Raises OSError: flush again."""
        return {"bytes": self._open_file().flush()}

    def close(self, status: str) -> None:
        """Let go of the file."""
        del status
        if self._file is not None:
            self._file.close()
            self._file = None

    def look(self, run: RunInfo) -> str:
        """The lines."""
        return f"less {run.own_dir}/points.jsonl"

    def _open_file(self) -> AppendFile:
        if self._file is None:
            raise RuntimeError("the backend is not open")
        return self._file


def _lines(item: Item) -> list[bytes]:
    objects: list[dict[str, Any]] = []
    if isinstance(item, Points):
        objects = _rows(item)
    elif isinstance(item, Media):
        objects = [{"type": "media", **reference(item)}]
    elif isinstance(item, Params):
        objects = [{"params": _scalars(item.values)}]
    elif isinstance(item, Summary):
        objects = [{"summary": _scalars(item.values)}]
    elif isinstance(item, Rewind):
        objects = [{"rewind": item.step, "generation": item.generation}]
    elif isinstance(item, RunEnd):
        objects = [{"end": item.status}]
    return [msgspec.json.encode(each) for each in objects]


def _rows(points: Points) -> list[dict[str, Any]]:
    values: list[list[Any]] = points.values.tolist()
    for row, at in np.argwhere(~np.isfinite(points.values)).tolist():
        values[row][at] = _NON_FINITE[repr(values[row][at])]
    names, world = points.names, points.world
    revision = {"revision": True} if points.revision else {}
    heads = zip(points.steps.tolist(), points.times.tolist(), _ranks(points), values, strict=True)
    return [
        {"step": step, "time": time, "world": world, "ranks": ranks, "metrics": dict(zip(names, row, strict=True))}
        | revision
        for step, time, ranks, row in heads
    ]


def _ranks(points: Points) -> list[int | dict[str, int]]:
    """For each step the number of ranks, or a map by name where series differ."""
    same = (points.ranks == points.ranks[:, :1]).all(axis=1).tolist()
    return [
        row[0] if alike else dict(zip(points.names, row, strict=True))
        for alike, row in zip(same, points.ranks.tolist(), strict=True)
    ]


def _scalars(values: Mapping[str, Scalar]) -> dict[str, Scalar]:
    return {name: _scalar(value) for name, value in values.items()}


def _scalar(value: Scalar) -> Scalar:
    if isinstance(value, float) and not math.isfinite(value):
        return _NON_FINITE[repr(value)]
    return value
