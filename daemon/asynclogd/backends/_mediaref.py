"""A media item as a reference: where in the run's media store its bytes are. What file formats for numbers keep."""

from __future__ import annotations

from typing import Any

from asynclogd.points import Media

COLUMNS = ("name", "step", "time", "kind", "form", "options", "file", "offset", "size", "digest", "generation")


def reference(item: Media) -> dict[str, Any]:
    """The columns' values. `file` is relative to the run's directory; the bytes are `size` at `offset` of it, as they
    are (a PNG, say), and `digest` is their BLAKE2b-128.
    """
    blob = item.blob
    return {
        "name": item.name,
        "step": item.step,
        "time": item.time,
        "kind": item.kind,
        "form": item.form,
        "options": dict(item.options),
        "file": f"media/{blob.segment}.seg",
        "offset": blob.offset,
        "size": blob.size,
        "digest": blob.digest,
        "generation": item.generation,
    }
