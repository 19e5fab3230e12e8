"""A reducer's state as bytes and back. Only what is in use is written; where a step lies in memory is not state."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import msgpack
import numpy as np

from asynclog_proto.records import Define
from asynclogd.caps import ReducerSettings
from asynclogd.columns import Columns
from asynclogd.lanes import Lane
from asynclogd.metrics import Metrics, Spec
from asynclogd.progress import Progress, Rank
from asynclogd.superseded import Outlived
from asynclogd.tables import Table
from asynclogd.tabulate import World
from asynclogd.tally import Tally
from asynclogd.window import Window

VERSION = 1


@dataclass(frozen=True, slots=True)
class State:
    """All of a reducer but its settings."""

    tally: Tally
    metrics: Metrics
    outlived: Outlived
    progress: Progress | None
    window: Window


def pack(state: State) -> bytes:
    """The state as bytes, for `unpack`."""
    window, columns = state.window, state.window.columns
    fields: dict[str, Any] = {
        "version": VERSION,
        "tally": asdict(state.tally),
        "defines": _defines(state.metrics),
        "outlived": [state.outlived.generation, _defines(state.outlived.metrics)],
        "progress": None if state.progress is None else _progress_fields(state.progress),
        "world": [window.world.size, window.world.generation],
        "window": [window.open, window.late, window.closed_early],
        "latest": window.latest.fields(),
        "ticks": columns.ticks,
        "tables": [_table_fields(table, retired=columns.retired(table)) for table in columns.tables.values()],
        "former": [[name, table.number, column] for (_, name), (table, column) in columns.former.items()],
    }
    packed: bytes = msgpack.packb(fields, use_bin_type=True)
    return packed


def unpack(blob: bytes, settings: ReducerSettings) -> State:
    """What `pack` was given. Raises ValueError when `blob` is nothing that this version wrote."""
    try:
        fields = msgpack.unpackb(blob, raw=False, strict_map_key=False)
        version = fields["version"]
        return _state(fields, settings) if version == VERSION else _refuse(version)
    except (KeyError, TypeError, IndexError, ValueError, msgpack.UnpackException) as error:
        raise ValueError(f"not a reducer's snapshot: {error!r}") from error


def _refuse(version: object) -> State:
    raise ValueError(f"version {version!r}; this is version {VERSION}")


def _state(fields: dict[str, Any], settings: ReducerSettings) -> State:
    tally = Tally(**fields["tally"])
    tally.launches = {launch: (generation, world) for launch, (generation, world) in tally.launches.items()}
    if "fact_bytes" not in fields["tally"]:  # a snapshot from before they were counted
        tally.weigh()
    metrics = _metrics(fields["defines"])
    generation, defines = fields.get("outlived", (-1, []))
    window = Window(settings, World(*fields["world"]))
    window.open, window.late, window.closed_early = fields["window"]
    for names, step in fields.get("latest", []):
        window.latest.note(tuple(names), step)
    window.columns = _columns(fields, window.world.size)
    return State(tally, metrics, Outlived(generation, _metrics(defines)), _progress(fields["progress"]), window)


def _defines(metrics: Metrics) -> list[list[Any]]:
    return [
        [define.pattern, list(define.reduce), define.per_rank, define.lane, define.own_steps]
        for define in metrics.defines()
    ]


def _metrics(defines: list[list[Any]]) -> Metrics:
    metrics = Metrics()
    for pattern, reduce, *options in defines:
        metrics.define(Define(pattern, tuple(reduce), *options))
    return metrics


def _progress_fields(progress: Progress) -> dict[str, Any]:
    fields = asdict(progress)
    fields["ranks"] = list(fields["ranks"].items())
    return fields


def _progress(fields: dict[str, Any] | None) -> Progress | None:
    if fields is None:
        return None
    ranks = {rank: Rank(**state) for rank, state in fields["ranks"]}
    before_there_were = {"expected": fields["world"]}
    return Progress(**{**before_there_were, **fields, "ranks": ranks})


def _columns(fields: dict[str, Any], world: int) -> Columns:
    columns = Columns(world)
    for each in fields["tables"]:
        columns.put(_table(each, world), retired=each["retired"])
    for each in fields["tables"]:
        if each["elder"] is not None:
            table = columns.tables[each["number"]]
            table.elder = columns.tables[each["elder"]]
            table.elder_columns = np.frombuffer(each["elder_columns"], np.int64)
    former = [(columns.tables[number], name, column) for name, number, column in fields["former"]]
    columns.former = {(table.lane, name): (table, column) for table, name, column in former}
    columns.ticks = fields["ticks"]
    return columns


def _table_fields(table: Table, *, retired: bool) -> dict[str, Any]:
    slots, order = table.slots, table.slots.in_order()
    places = {slot: place for place, slot in enumerate(order.tolist())}
    return {
        "number": table.number,
        "names": list(table.names),
        "spec": [list(table.spec.reductions), table.spec.per_rank],
        "lane": [table.lane.name, table.lane.own_steps],
        "retired": retired,
        "used_at": table.used_at,
        "kept": len(slots.kept),
        "horizon": slots.horizon,
        "steps": slots.steps[order].tobytes(),
        "times": slots.times[order].tobytes(),
        "opened": slots.opened[order].tobytes(),
        "origins": [slots.marks[order].tobytes(), slots.flushes[order].tobytes()] if table.lane.own_steps else [],
        # Nearly all of the bytes: packed where they lie, as one dimension, which has a length in bytes for any packer.
        "cells": {name: array[order].reshape(-1).data for name, array in table.fields.items()},
        "done": [[places[slot], mask.tobytes()] for slot, mask in table.done.items()],
        "again": [[places[slot], list(counts.items())] for slot, counts in table.again.items()],
        "elder": None if table.elder is None else table.elder.number,
        "elder_columns": None if table.elder_columns is None else table.elder_columns.tobytes(),
    }


def _table(fields: dict[str, Any], world: int) -> Table:
    reductions, per_rank = fields["spec"]
    lane = Lane(*fields.get("lane", []))
    table = Table(fields["number"], tuple(fields["names"]), Spec(tuple(reductions), per_rank), world, lane)
    steps = np.frombuffer(fields["steps"], np.int64)
    count, kept = len(steps), fields["kept"]
    table.resize(table.slots.room(count))
    slots = table.slots
    slots.steps[:count] = steps
    slots.times[:count] = np.frombuffer(fields["times"])
    slots.opened[:count] = np.frombuffer(fields["opened"])
    if fields.get("origins"):
        slots.marks[:count], slots.flushes[:count] = (np.frombuffer(each, np.int64) for each in fields["origins"])
    slots.fill(kept, count)
    slots.horizon = fields["horizon"]
    for name, data in fields["cells"].items():
        array = table.fields[name]
        array[:count] = np.frombuffer(data, array.dtype).reshape(count, *array.shape[1:])
    table.used_at = fields["used_at"]
    table.done = {place: np.frombuffer(mask, np.bool_).copy() for place, mask in fields["done"]}
    table.again = {place: dict(counts) for place, counts in fields["again"]}
    return table
