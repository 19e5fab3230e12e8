"""Media as what W&B's SDK writes for the same input: the object in the row, and the file that it names.

Source: wandb/sdk/data_types (image.py, audio.py, video.py, html.py, histogram.py, table.py, object_3d.py). The artifact
that the SDK makes of a table is left out: W&B shows the file. What W&B has no object for is a file of the run.
"""

from __future__ import annotations

import hashlib
import html
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np

from asynclogd.backends.base import Media, PermanentError
from asynclogd.media import curves, forms, histograms, meshes

MOST_BINS = 512
"""wandb.Histogram.MAX_LENGTH."""

_DIGEST_SHOWN = 20
_LONGEST_STEM = 60
_LONGEST_NAME = 200


@dataclass(frozen=True, slots=True)
class Shown:
    """`value` is what the row has; `content` are the bytes of the file at `path` below the run's `files` ("": none)."""

    value: Mapping[str, Any] = field(default_factory=dict)
    path: str = ""
    content: bytes = b""


def shown(item: Media, data: bytes, row: int) -> Shown:
    """What W&B is given for an item whose blob is `data`, in the row numbered so.

    Raises PermanentError for content that is not of its form.
    """
    writer = _WRITERS.get(item.form, _file)
    try:
        return writer(item, data, row)
    except (KeyError, ValueError, TypeError) as error:
        raise PermanentError(f"{item.name}: a blob that is not {item.form}: {error!r}") from error


def _image(item: Media, data: bytes, row: int) -> Shown:
    size = {"width": item.options["width"], "height": item.options["height"]}
    return _stored(item, data, row, "images", ".png", {"_type": "image-file", "format": "png", **size})


def _video(item: Media, data: bytes, row: int) -> Shown:
    size = {"width": item.options["width"], "height": item.options["height"]}
    return _stored(item, data, row, "videos", ".gif", {"_type": "video-file", **size})


def _audio(item: Media, data: bytes, row: int) -> Shown:
    return _stored(item, data, row, "audio", ".wav", {"_type": "audio-file"})


def _html(item: Media, data: bytes, row: int) -> Shown:
    return _stored(item, data, row, "html", ".html", {"_type": "html-file"})


def _text(item: Media, data: bytes, row: int) -> Shown:
    """W&B has no object for Markdown: a page that shows it as it was written."""
    page = f"<pre>{html.escape(data.decode('utf-8', 'replace'), quote=False)}</pre>"
    return _html(item, page.encode(), row)


def _histogram(item: Media, data: bytes, row: int) -> Shown:
    del row
    (least, *_), edges, counts = histograms.decode(data, item.options["n"])
    together = -(-len(counts) // MOST_BINS)
    starts = np.arange(0, len(counts), together)
    uppers = edges[np.append(starts[1:], len(counts)) - 1]
    bins = [min(least, float(uppers[0])), *uppers.tolist()]
    return Shown({"_type": "histogram", "values": np.add.reduceat(counts, starts).tolist(), "bins": bins})


def _json(item: Media, data: bytes, row: int) -> Shown:
    if item.kind != "table":
        return _file(item, data, row)
    table = json.loads(data)
    return _table(item, table["columns"], table["rows"], row)


def _pr_curve(item: Media, data: bytes, row: int) -> Shown:
    return _table(item, curves.ROWS, curves.decode(data).T.tolist(), row)


def _table(item: Media, columns: Any, rows: Any, row: int) -> Shown:
    content = json.dumps({"columns": list(columns), "data": rows}).encode()
    about = {"_type": "table-file", "ncols": len(columns), "nrows": len(rows), "log_mode": "IMMUTABLE"}
    return _stored(item, content, row, "table", ".table.json", about)


def _mesh(item: Media, data: bytes, row: int) -> Shown:
    """Points with their colours, or a Wavefront OBJ where there are faces. Batches are one cloud."""
    parts = meshes.decode(data, item.options["sections"])
    vertices = parts["vertices"].reshape(-1, 3)
    if "faces" in parts:
        batch, many, _ = parts["vertices"].shape
        faces = parts["faces"] + (1 + many * np.arange(batch)).reshape(-1, 1, 1)
        lines = [f"v {x!r} {y!r} {z!r}" for x, y, z in vertices.tolist()]
        lines += [f"f {a} {b} {c}" for a, b, c in faces.reshape(-1, 3).tolist()]
        return _stored(item, "\n".join(lines).encode(), row, "object3D", ".obj", {"_type": "object3D-file"})
    cloud = vertices if "colors" not in parts else np.hstack([vertices, parts["colors"].reshape(-1, 3)])
    content = json.dumps(cloud.tolist()).encode()
    return _stored(item, content, row, "object3D", ".pts.json", {"_type": "object3D-file"})


def _file(item: Media, data: bytes, row: int) -> Shown:
    """Under its own name, where it has one."""
    del row
    return Shown(path=file_path(item), content=data)


def file_path(item: Media) -> str:
    """Where a file of the run goes: `media/file/<name>/<step>/<its own name>`."""
    given = PurePosixPath(str(item.options.get("artifact") or item.options.get("path") or "")).name
    kept = re.sub(r"[^\w.\- ]+", "_", given).encode()[-_LONGEST_NAME:].decode("utf-8", "ignore").strip(". ")
    own = kept or f"content{forms.SUFFIXES.get(item.form, '.bin')}"
    return f"media/file/{stem(item.name)}_{hashlib.sha256(item.name.encode()).hexdigest()[:8]}/{item.step}/{own}"


_WRITERS: Mapping[str, Callable[[Media, bytes, int], Shown]] = MappingProxyType({
    forms.PNG: _image,
    forms.GIF: _video,
    forms.WAV: _audio,
    forms.HTML: _html,
    forms.MARKDOWN: _text,
    forms.HISTOGRAM: _histogram,
    forms.JSON: _json,
    forms.PR_CURVE: _pr_curve,
    forms.MESH: _mesh,
})  # fmt: skip


def _stored(item: Media, content: bytes, row: int, place: str, suffix: str, about: Mapping[str, Any]) -> Shown:
    digest = hashlib.sha256(content).hexdigest()
    path = f"media/{place}/{stem(item.name)}_{row}_{digest[:_DIGEST_SHOWN]}{suffix}"
    caption = {"caption": str(item.options["caption"])} if item.options.get("caption") else {}
    return Shown({**about, "path": path, "sha256": digest, "size": len(content), **caption}, path, content)


def stem(name: str) -> str:
    """What of a name a path may have; what stands beside it there makes it the only one."""
    return re.sub(r"[^\w\-]+", "_", name, flags=re.ASCII)[:_LONGEST_STEM] or "_"
