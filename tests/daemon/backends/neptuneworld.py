"""A Neptune backend in a directory of its own, and its databases as the SDK reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from asynclogd.backends._spelling import meant
from asynclogd.backends.base import (
    Media,
    Position,
    RunInfo,
)
from asynclogd.backends.neptune import NeptuneBackend, NeptuneConfig
from asynclogd.media import forms
from tests.daemon.backends.mediastore import Store


class Read:
    """A run's database as the SDK reads it, checked by the rules of Neptune's server: in a series steps rise, and times
    do not fall.
    """

    def __init__(self, database: Path) -> None:
        from neptune_scale.sync.operations_repository import OperationsRepository, OperationType

        repository = OperationsRepository(database)
        metadata = repository.get_metadata()
        assert metadata is not None
        self.project, self.run_id = metadata.project, metadata.run_id
        self.series: dict[str, list[tuple[int, float, Any]]] = {}
        self.single: dict[str, Any] = {}
        self.tags: list[str] = []
        self.files = repository.get_file_upload_requests(10_000)
        last = None
        while operations := repository.get_operations(16 << 20, last):
            for each in operations:
                if each.operation_type == OperationType.CREATE_RUN:
                    self.created = each.operation
                else:
                    self._update(each.operation)
            last = operations[-1].sequence_id
        repository.close(cleanup_files=False)

    @property
    def fork(self) -> tuple[str, int] | None:
        point = self.created.fork_point
        return (point.parent_run_id, point.step.whole) if self.created.HasField("fork_point") else None

    def _update(self, update: Any) -> None:
        time = update.timestamp.seconds + update.timestamp.nanos / 1e9
        for path, value in update.append.items():
            points = self.series.setdefault(path, [])
            assert not points or (points[-1][0] < update.step.whole and points[-1][1] <= time), path
            points.append((update.step.whole, time, getattr(value, value.WhichOneof("value"))))
        for path, value in update.assign.items():
            self.single[path] = getattr(value, value.WhichOneof("value"))
        for path, tags in update.modify_sets.items():
            assert path == "sys/tags"
            self.tags.extend(tags.string.values)


def runs(own: Path) -> list[Read]:
    """The run that goes on, before it its parent, and so on."""
    found = {run.run_id: run for run in map(Read, sorted(own.glob("run-*/*.sqlite3")))}
    chain = [max(found.values(), key=lambda run: int(run.run_id.partition("-")[2] or 0))]
    while chain[0].fork:
        chain.insert(0, found[chain[0].fork[0]])
    return chain


def lineage(own: Path, prefix: str) -> list[tuple[str, int, Any]]:
    """What Neptune shows of a run: what is its own, and what its parents have up to the fork. A late value after the
    one that it came too late for.
    """
    chain, shown = runs(own), []
    ends = [run.fork[1] for run in chain[1:] if run.fork] + [2**60]
    for run, _ in zip(chain, ends, strict=True):
        until = min(end for other, end in zip(chain, ends, strict=True) if chain.index(other) >= chain.index(run))
        for path, points in sorted(run.series.items(), key=lambda each: each[0].startswith("late/")):
            name = path.split("/", 2)[2] if path.startswith("late/") else path
            if name.startswith(prefix):
                shown += [(meant(name.removeprefix(prefix)), step, value) for step, _, value in points if step <= until]
    return shown


def info(directory: Path, store: Store | None = None) -> RunInfo:
    own = directory / "digits" / "run-1" / "neptune"
    own.mkdir(parents=True, exist_ok=True)
    return RunInfo("digits", "run-1", own.parent, own, world=2, read_blob=None if store is None else store.read)


def opened(run: RunInfo, position: Position | None = None, **options: Any) -> NeptuneBackend:
    backend = NeptuneBackend(NeptuneConfig(**options))
    try:
        backend.open(run, position)
    except BaseException:
        backend.close("")  # as a sink does
        raise
    return backend


def written(run: RunInfo, *items: Any, position: Position | None = None, **options: Any) -> Position:
    backend = opened(run, position, **options)
    backend.write(items)
    reached = backend.flush()
    backend.close("")
    return reached


def media(store: Store, directory: Path) -> list[Media]:
    (directory / "weights.ckpt").write_bytes(b"weights")
    (directory / "logs").mkdir(exist_ok=True)
    (directory / "logs" / "a.txt").write_bytes(b"one")
    gone = store.put(b"")
    many = np.random.default_rng(0).normal(size=20_000)
    return [
        store.item("seen", "image", {"dataformats": "HW"}, 1, image=np.zeros((4, 4), np.uint8)),
        store.item("heard", "audio", {"sample_rate": 8000}, 2, audio=np.zeros(80, np.float32)),
        store.item("said", "text", None, 3, text="# hello"),
        store.item("spread", "histogram", {"bins": 3}, 4, values=np.array([0.0, 1.0, 1.0, 3.0])),
        store.item("fine", "histogram", {"bins": 2000}, 4, values=many),
        store.item("one", "histogram", {"bins": "tensorflow"}, 4, values=np.array([2.0, 2.0])),
        Media("cells", 5, 1.7e9, "table", forms.JSON, {}, store.put(b'{"columns":["a"],"rows":[[1]]}')),
        Media("curve", 6, 1.7e9, "pr_curve", forms.PR_CURVE, {}, store.put(np.arange(12, dtype="<f4").tobytes())),
        Media("ckpt", 8, 1.7e9, "file", forms.BYTES, {"path": str(directory / "weights.ckpt")}, gone),
        Media("logs", 9, 1.7e9, "file", forms.BYTES, {"path": str(directory / "logs")}, gone),
    ]
