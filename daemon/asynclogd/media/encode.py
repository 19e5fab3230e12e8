"""From what a rank laid down to what is stored: one pure function, with a file for each family of kinds.

A worker process calls it with what a training process wrote, which may be anything. So sizes are checked before
memory is taken, and whatever can't be made is an UnfitError that says what was wrong and what is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from asynclog_proto.media import Section
from asynclogd.media import curves, embeddings, graphs, histograms, images, meshes, sounds, texts, videos
from asynclogd.media.body import Body
from asynclogd.media.forms import Encoded, UnfitError

__all__ = ["encode"]


@dataclass(frozen=True, slots=True)
class _Kind:
    """Which sections a kind has to have (one of the sets), which it may have beside them, and who encodes it."""

    make: Callable[[Body, Mapping[str, Any]], Encoded]
    needed: tuple[frozenset[str], ...]
    further: frozenset[str] = frozenset()


def _kind(make: Callable[[Body, Mapping[str, Any]], Encoded], *needed: str, further: str = "") -> _Kind:
    return _Kind(make, tuple(frozenset(roles.split()) for roles in needed), frozenset(further.split()))


_KINDS: Mapping[str, _Kind] = MappingProxyType({
    "image": _kind(images.encode, "image", further="boxes labels"),
    "video": _kind(videos.encode, "video"),
    "audio": _kind(sounds.encode, "audio"),
    "text": _kind(texts.markdown, "text"),
    "histogram": _kind(histograms.encode, "values", "stats edges counts"),
    "pr_curve": _kind(curves.encode, "labels predictions", "curve", further="weights"),
    "embedding": _kind(embeddings.encode, "matrix", further="metadata label_images"),
    "graph": _kind(graphs.encode, "graph", further="run_metadata"),
    "mesh": _kind(meshes.encode, "vertices", further="colors faces"),
    "table": _kind(texts.table, "table"),
    "layout": _kind(texts.layout, "layout"),
    "html": _kind(texts.html, "html"),
    "file": _kind(texts.file, "", "file"),
})  # fmt: skip


def encode(kind: str, sections: Sequence[Section], options: Mapping[str, Any], body: memoryview) -> Encoded:
    """What is stored of a record of that kind, whose `body` has its sections end to end. `body` may be read-only;
    nothing keeps it after the call.

    Raises UnfitError.
    """
    found = _KINDS.get(kind)
    if found is None:
        raise UnfitError(f"the kind {kind!r}; {', '.join(_KINDS)} are accepted")
    parts = Body(sections, body)
    roles = set(parts.roles)
    if not any(needed <= roles <= needed | found.further for needed in found.needed):
        accepted = " or ".join(", ".join(sorted(needed)) or "none" for needed in found.needed)
        more = f", optionally {', '.join(sorted(found.further))}" if found.further else ""
        raise UnfitError(f"{kind} with the sections {', '.join(parts.roles) or 'none'}; {accepted}{more} is accepted")
    # What overflows is infinite and what is undefined NaN: that is news to nobody, and worth no line on stderr.
    with np.errstate(all="ignore"):
        return found.make(parts, options)
