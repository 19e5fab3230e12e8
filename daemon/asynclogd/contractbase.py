"""What the contract tests stand on: a backend, its reader, and being killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgpack

from asynclogd.backends.base import Backend, Item, Position, RunInfo, StartOverError
from asynclogd.media.store import MediaStore
from asynclogd.samples import Content, content, exactly

MediaContent = list[tuple[str, int, bytes]]


class Reached(dict[str, Any]):
    """A position as the journal would have kept it, and what was offered on the way there."""

    offered: tuple[Sequence[Item], ...] = ()

    @classmethod
    def of(cls, position: Position, offered: Iterable[Sequence[Item]]) -> Reached:
        """The position after these batches."""
        reached = cls(msgpack.unpackb(msgpack.packb(dict(position))))
        reached.offered = tuple(offered)
        return reached


class ContractBase:
    """What a subclass gives, and what the tests do with it."""

    exact: ClassVar[bool] = True
    """Each point exactly once after a kill; False: at least once."""

    def make(self) -> Backend:
        """A new backend, not opened, of the same options each time."""
        raise NotImplementedError

    def read(self, run: RunInfo) -> Content:
        """Every point of the run as a user of the product reads it, each series in the order it is shown."""
        raise NotImplementedError

    def read_media(self, run: RunInfo) -> MediaContent | None:
        """Every media item of the run as the product shows it: (name, step, bytes). Of a backend of kind "media"; None
        says that there is nothing to read it with.
        """
        del run
        return None

    def stored(self, value: float) -> float:
        """What the product makes of a value."""
        return value

    def _run(self, directory: Path) -> RunInfo:
        own = directory / "digits" / "run-1" / "own"
        own.mkdir(parents=True)
        return RunInfo("digits", "run-1", own.parent, own, 2, read_blob=MediaStore(own.parent / "media").read)

    def _killed(
        self, run: RunInfo, position: Reached | None, flushed: Sequence[Sequence[Item]], lost: Sequence[Sequence[Item]]
    ) -> Reached:
        """Open, write, flush, write more, and be gone. The position as the journal would have kept it."""
        backend = self.make()
        self._open(backend, run, position)
        for batch in flushed:
            backend.write(batch)
        before = position.offered if position is not None else ()
        reached = Reached.of(backend.flush(), [*before, *flushed])
        for batch in lost:
            backend.write(batch)
        return reached

    def _open(self, backend: Backend, run: RunInfo, position: Reached | None) -> None:
        """As a sink does: a backend that starts over is offered everything once more."""
        try:
            backend.open(run, None if position is None else dict(position))
        except StartOverError:
            assert position is not None, "a backend that begins can't start over"
            backend.open(run, None)
            for batch in position.offered:
                backend.write(batch)
            backend.flush()

    def _check(self, run: RunInfo, items: Iterable[Item]) -> None:
        found = Counter(exactly(name, step, value) for name, step, value in self.read(run))
        wanted = Counter(exactly(name, step, self.stored(value)) for name, step, value in content(items))
        missing, extra = wanted - found, found - wanted
        assert not missing, f"{len(missing)} missing: {list(missing)[:5]}"
        if self.exact:
            assert not extra, f"there too often or wrongly: {list(extra)[:5]}"
