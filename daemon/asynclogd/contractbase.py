"""What the contract tests stand on: a backend, its reader, and being killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

import msgpack

from asynclogd.backends.base import Backend, Item, Position, RunInfo
from asynclogd.media.store import MediaStore
from asynclogd.samples import Content, content, exactly

MediaContent = list[tuple[str, int, bytes]]


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
        self, run: RunInfo, position: Position | None, flushed: Sequence[Sequence[Item]], lost: Sequence[Sequence[Item]]
    ) -> Position:
        """Open, write, flush, write more, and be gone. The position as the journal would have kept it."""
        backend = self.make()
        backend.open(run, position)
        for batch in flushed:
            backend.write(batch)
        packed = msgpack.packb(dict(backend.flush()))
        for batch in lost:
            backend.write(batch)
        reached: Position = msgpack.unpackb(packed)
        return reached

    def _check(self, run: RunInfo, items: Iterable[Item]) -> None:
        found = Counter(exactly(name, step, value) for name, step, value in self.read(run))
        wanted = Counter(exactly(name, step, self.stored(value)) for name, step, value in content(items))
        missing, extra = wanted - found, found - wanted
        assert not missing, f"{len(missing)} missing: {list(missing)[:5]}"
        if self.exact:
            assert not extra, f"there too often or wrongly: {list(extra)[:5]}"
