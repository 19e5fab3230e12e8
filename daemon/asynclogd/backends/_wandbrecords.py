"""A run as the records of a `.wandb` file: what W&B's SDK would write for the same calls, in protobufs of the SDK.

One history record is one row: a table's values at one step, with `step`, `_timestamp`, `_runtime` and `_step`. W&B's
`_step` has to grow, so it counts rows and says nothing of the training; `step` is the axis of every series
(`define_metric`), and may go back and forth. The same items make the same rows with the same `_step`, whenever they
are written.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from asynclog_proto.records import Scalar
from asynclogd.backends._wandblog import LogFile
from asynclogd.backends._wandbnames import STEP, spelt, utf8
from asynclogd.backends._wandbrows import RowFormat
from asynclogd.backends.base import Points

LONGEST_ROW = 8 << 20
"""Bytes of a row, about: wandb-core leaves out one of more than 10 MiB (filestream's max line)."""

_NUMBER_BYTES = 32
_OLDEST_READER = "0.70.0"
"""What wandb 0.31 itself says is the least that can read its files."""


@dataclass
class Counts:
    """How far a log is: records, rows, and when the run began (s since the epoch; 0: not known yet)."""

    records: int = 0
    rows: int = 0
    start: float = 0.0
    latest: float = 0.0


class RunRecords:
    """Appends records to a log. Series that this object has not seen are defined when they come; twice is harmless."""

    def __init__(self, log: LogFile, counts: Counts, last: Mapping[str, bytes] | None = None) -> None:
        """`last`: the last values of series, as JSON, that the summary does not have yet."""
        from wandb.proto import wandb_internal_pb2

        self._proto: Any = wandb_internal_pb2
        self.log, self.counts = log, counts
        self._format = RowFormat(wandb_internal_pb2)
        self._heads: dict[str, bytes] = {}
        self._about = tuple(map(self._format.head, (STEP, "_timestamp", "_runtime", "_step")))
        self._last = dict(last or {})

    def begin(self, run: Mapping[str, Any]) -> None:
        """The header and the run. `run` are fields of RunRecord."""
        import wandb

        self._append(header={"version_info": {"producer": wandb.__version__, "min_consumer": _OLDEST_READER}})
        record = self._proto.RunRecord(**run, telemetry={"cli_version": wandb.__version__})
        record.start_time.FromNanoseconds(int(self.counts.start * 1e9))
        self._append(run=record)
        self._append(metric=self._proto.MetricRecord(name=STEP, options={"defined": True, "hidden": True}))

    def points(self, points: Points) -> None:
        """A row for each step."""
        for columns in _rows_apart(points.names):
            keys = [spelt(name) for name in points.names[columns]]
            heads = self._define(keys)
            texts: list[bytes] = []
            cells = points.values[:, columns]
            finite: list[bool] = np.isfinite(cells).min(axis=1, initial=True).tolist()
            for (step, at, _), values, plain in zip(points.rows(), cells.tolist(), finite, strict=True):
                texts = _numbers(values, finite=plain)
                self._row(heads, texts, step, at)
            self._last.update(zip(keys, texts, strict=False))  # of an empty table none

    def shown(self, name: str, step: int, at: float, value: Mapping[str, Any]) -> None:
        """A row of one media object."""
        key, text = spelt(name), json.dumps(value).encode()
        self._row(self._define([key]), [text], step, at)
        self._last[key] = text

    def config(self, values: Mapping[str, Scalar]) -> None:
        """Hyperparameters."""
        self._append(config={"update": self._items(self._proto.ConfigItem, values)})

    def summary(self, values: Mapping[str, Scalar]) -> None:
        """Final values. They stand until a point of the same name comes."""
        self.flush()
        self._append(summary={"update": self._items(self._proto.SummaryItem, values)})

    def files(self, paths: Sequence[str]) -> None:
        """Files below the run's `files` that are to be uploaded."""
        self._append(files={"files": [{"path": path} for path in paths]})

    def artifact(self, record: Any) -> None:
        """An ArtifactRecord."""
        self._append(artifact=record)

    def exit(self, code: int) -> None:
        """The run's end."""
        self.flush()
        counts = self.counts
        self._append(exit={"exit_code": code, "runtime": max(0, int(counts.latest - counts.start))})

    def flush(self) -> None:
        """Write what each series' last value is, which W&B shows as the run's summary."""
        if self._last:
            update = [{"nested_key": [key], "value_json": text.decode()} for key, text in self._last.items()]
            self._append(summary={"update": update})
            self._last = {}

    def _row(self, heads: Sequence[bytes], texts: Sequence[bytes], step: int, at: float) -> None:
        counts = self.counts
        about = _numbers([step, at, max(0.0, at - counts.start), counts.rows], finite=True)
        self.log.append(self._format.record(self._next(), counts.rows, [*heads, *self._about], [*texts, *about]))
        counts.rows += 1
        counts.latest = max(counts.latest, at)

    def _define(self, keys: Sequence[str]) -> list[bytes]:
        """What the keys are in a row. New ones become metrics whose axis is the training's step."""
        for key in keys:
            if key not in self._heads:
                self._heads[key] = self._format.head(key)
                self._append(metric=self._proto.MetricRecord(name=key, step_metric=STEP, options={"defined": True}))
        return [self._heads[key] for key in keys]

    def _append(self, **content: Any) -> None:
        self.log.append(self._proto.Record(num=self._next(), **content).SerializeToString())

    def _next(self) -> int:
        self.counts.records += 1
        return self.counts.records

    def _items(self, kind: Any, values: Mapping[str, Scalar]) -> list[Any]:
        return [kind(nested_key=[utf8(name)], value_json=json.dumps(_scalar(value))) for name, value in values.items()]


def _numbers(values: Sequence[float], *, finite: bool) -> list[bytes]:
    """Each as JSON; NaN and infinities as Python's json, and W&B's, spell them."""
    if finite:
        return msgspec.json.encode(values)[1:-1].split(b",")
    return json.dumps(values).encode()[1:-1].split(b", ")


def _scalar(value: Scalar) -> Scalar:
    """W&B's SDK makes null of a NaN that is no metric; its name says more."""
    return value if not isinstance(value, float) or math.isfinite(value) else json.dumps(value)


def _rows_apart(names: Sequence[str]) -> Iterator[slice]:
    """Columns that fit in one row."""
    begin = size = 0
    for column, name in enumerate(names):
        size += len(json.dumps(name)) + _NUMBER_BYTES
        if size > LONGEST_ROW:
            yield slice(begin, column)
            begin, size = column, len(json.dumps(name)) + _NUMBER_BYTES
    if begin < len(names):
        yield slice(begin, len(names))
