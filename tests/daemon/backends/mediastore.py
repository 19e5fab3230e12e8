"""Media items as a daemon hands them to backends, and the store that keeps their bytes."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from asynclog_proto.errors import ProtocolError
from asynclogd.backends.base import Blob, Item, Media, Position, RunInfo
from asynclogd.backends.tensorboard import TensorBoardBackend, TensorBoardConfig
from tests.daemon.media.laid import encoded


@dataclass
class Store:
    """Blobs by their digest; `lost` ones can't be read."""

    blobs: dict[str, bytes] = field(default_factory=dict)
    lost: set[str] = field(default_factory=set)

    def read(self, blob: Blob) -> bytes:
        if blob.digest in self.lost:
            raise ProtocolError(f"no segment {blob.segment}")
        return self.blobs[blob.digest]

    def put(self, data: bytes) -> Blob:
        digest = hashlib.blake2b(data, digest_size=16).hexdigest()
        self.blobs[digest] = data
        return Blob(digest, 1, 0, len(data))

    def item(self, name: str, kind: str, options: dict[str, Any] | None = None, step: int = 0, **parts: Any) -> Media:
        made = encoded(kind, options, **parts)
        about = {**(options or {}), **made.options}
        return Media(name, step, 1_700_000_000.0 + step, kind, made.form, about, self.put(made.data))

    def lose(self, item: Media) -> Media:
        self.lost.add(item.blob.digest)
        return item

    def run(self, directory: Path) -> RunInfo:
        own = directory / "run-1" / "tensorboard"
        own.mkdir(parents=True, exist_ok=True)
        return RunInfo("digits", "run-1", own.parent, own, read_blob=self.read)


def without_store(run: RunInfo) -> RunInfo:
    return replace(run, read_blob=None)


def written(run: RunInfo, *items: Item, position: Position | None = None) -> Position:
    """Open, write, flush, close."""
    backend = TensorBoardBackend(TensorBoardConfig())
    backend.open(run, position)
    backend.write(items)
    reached = backend.flush()
    backend.close("")
    return reached
