"""Runs written for SwanLab, and what its SDK reads of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from asynclogd.backends.base import (
    Item,
    Position,
    RunInfo,
)
from asynclogd.backends.swanlab import SwanlabBackend, SwanlabConfig


def every(run: RunInfo) -> list[Any]:
    """The records of the run's file, as the SDK reads them."""
    from swanlab.proto.swanlab.record.v1.record_pb2 import Record
    from swanlab.sdk.internal.core_python.context import CoreConfig, CoreContext
    from swanlab.sdk.internal.core_python.store import DataStoreReader

    facts = dict.fromkeys(("section_rule", "record_batch", "record_interval"), 0)
    facts |= dict.fromkeys(("save_size", "save_split", "save_part", "save_batch"), 0)
    context = CoreContext(config=CoreConfig(run_id="", run_dir=run.own_dir, **facts), mode="sync")
    reader = DataStoreReader()
    reader.open(context.run_file)
    found = [Record.FromString(data) for data in reader]
    reader.close()
    return found


def accepted(run: RunInfo, kind: str) -> list[Any]:
    """The records that `swanlab sync` sends: of a series the first at each step, by the SDK's own rule."""
    from swanlab.proto.swanlab.metric.column.v1.column_pb2 import ColumnRecord
    from swanlab.sdk.internal.core_python.metrics import RunMetrics

    metrics, sent = RunMetrics(), []
    for record in every(run):
        if record.HasField(kind):
            data = getattr(record, kind)
            metric = metrics.get(data.key) or metrics.define_scalar(
                key=data.key, column=ColumnRecord(column_type=data.type)
            )
            metric.ensure_type_match(data.type)
            if metric.try_accept_step(data.step):
                sent.append(data)
    return sent


def info(directory: Path, project: str = "digits") -> RunInfo:
    own = directory / "run-1" / "swanlab"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo(project, "run-1", own.parent, own, world=2)


def written(run: RunInfo, *batches: list[Item], position: Position | None = None, **options: Any) -> Position:
    """Open, write and flush each batch, close."""
    backend = SwanlabBackend(SwanlabConfig(**options))
    backend.open(run, position)
    position = position or backend.flush()
    for items in batches:
        backend.write(items)
        position = backend.flush()
    backend.close("")
    return position
