"""Neptune's updates (protobuf UpdateRunSnapshot), as neptune_scale/sync/metadata_splitter.py builds them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from asynclog_proto.records import Scalar
from asynclogd.backends._neptunelineage import Lineage
from asynclogd.backends._neptunenames import late, spelt
from asynclogd.backends.base import PermanentError, Points

STEPS = range(10**12)
"""What Neptune takes (neptune_scale/sync/parameters.py)."""

TEXT_LENGTH = 16_384
"""Characters of a single value, by Neptune's docs (help, Max string attribute length exceeded)."""

BYTES = 1 << 20
"""Of an update: half of parameters.py, MAX_SINGLE_OPERATION_SIZE_BYTES."""

_BYTES_PER_VALUE = 32
_INT64 = range(-(2**63), 2**63)


def check_steps(steps: Sequence[int]) -> None:
    """Raises PermanentError, with their rows, for those that Neptune has no place for."""
    foreign = [row for row, step in enumerate(steps) if step not in STEPS]
    if foreign:
        raise PermanentError(f"Neptune takes steps of 0 to {STEPS[-1]}, not {steps[foreign[0]]}", foreign)


def log(points: Points, lineage: Lineage) -> None:
    """Give each step's values to the run that it is of. Raises PermanentError for steps, OSError."""
    check_steps(points.steps.tolist())
    paths = [f"metrics/{spelt(name)}" for name in points.names]
    for step, at, values in points.rows():
        run = lineage.owner(step)
        row: list[tuple[str, float]] = []
        latest = at
        for path, value in zip(paths, values, strict=True):
            pile, time = run.steps.place(path, step, at)
            latest = max(latest, time)
            row.append((late(path, pile), value))
        for some in _portions(row):
            update = snapshot(latest, step)
            for path, value in some:
                update.append[path].float64 = value
            run.save(update)


def assigned(values: Mapping[str, Scalar], at: float) -> Iterator[Any]:
    """The updates that set single values."""
    from neptune_api.proto.neptune_pb.ingest.v1.common_pb2 import Value

    for some in _portions([(path, _single(value)) for path, value in values.items()]):
        update = snapshot(at)
        for path, value in some:
            update.assign[path].CopyFrom(Value(**value))
        yield update


def tagged(tags: Sequence[str], at: float) -> Any:
    """The update that adds tags."""
    from neptune_api.proto.neptune_pb.ingest.v1.common_pb2 import SET_OPERATION

    update = snapshot(at)
    for tag in tags:
        update.modify_sets["sys/tags"].string.values[tag] = SET_OPERATION.ADD
    return update


def snapshot(at: float, step: int | None = None) -> Any:
    """An update that is empty yet, of a time in s since the epoch."""
    from neptune_api.proto.neptune_pb.ingest.v1.common_pb2 import Step, UpdateRunSnapshot

    return UpdateRunSnapshot(timestamp=timestamp(at), step=None if step is None else Step(whole=step))


def timestamp(time: float) -> Any:
    """A time in s since the epoch as protobuf's Timestamp, to the microsecond."""
    from google.protobuf.timestamp_pb2 import Timestamp

    micros = round(time * 1e6)
    return Timestamp(seconds=micros // 1_000_000, nanos=micros % 1_000_000 * 1000)


def _single(value: Scalar) -> dict[str, Any]:
    """A single value, by its type; what Neptune has no type for is a text."""
    if isinstance(value, bool):
        return {"bool": value}
    if isinstance(value, int) and value in _INT64:
        return {"int64": value}
    if isinstance(value, float):
        return {"float64": value}
    text = "" if value is None else str(value)
    return {"string": text if len(text) <= TEXT_LENGTH else text[: TEXT_LENGTH - 1] + "…"}


def _portions(values: Sequence[tuple[str, Any]]) -> Iterator[list[tuple[str, Any]]]:
    """Values in portions that are small enough for one update."""
    some: list[tuple[str, Any]] = []
    size = 0
    for path, value in values:
        size += len(path.encode()) + _BYTES_PER_VALUE
        size += len(str(value.get("string", "")).encode()) if isinstance(value, dict) else 0
        if some and size > BYTES:
            yield some
            some, size = [], 0
        some.append((path, value))
    if some:
        yield some
