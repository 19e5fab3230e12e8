"""Media as values of Neptune's series: histograms and texts by their own types, anything else as files.

A file's path in Neptune's storage follows from its series and step, as the SDK's own do (sync/files.py).
"""

from __future__ import annotations

import hashlib
import json
import mimetypes
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from asynclogd.backends._neptunenames import spelt
from asynclogd.backends._sources import files_in
from asynclogd.backends.base import Media, PermanentError
from asynclogd.media import curves, forms, histograms
from asynclogd.media.bins import thinned
from asynclogd.media.body import Array

LONGEST_TEXT = 1 << 20
"""Bytes of a value of a series of strings (parameters.py, MAX_STRING_SERIES_DATA_POINT_LENGTH)."""

MOST_BINS = 512
"""parameters.py, MAX_HISTOGRAM_BIN_EDGES less one."""


@dataclass(frozen=True, slots=True)
class Text:
    """A value of a series of strings."""

    text: str


@dataclass(frozen=True, slots=True)
class Bins:
    """A value of a series of histograms: n + 1 rising edges, n counts."""

    edges: list[float]
    counts: list[int]


@dataclass(frozen=True, slots=True)
class File:
    """A value of a series of files: its name, and its bytes or where they are."""

    name: str
    content: bytes | Path

    @property
    def mime(self) -> str:
        """By its name."""
        return mimetypes.guess_type(self.name)[0] or "application/octet-stream"


def shown(item: Media, data: bytes) -> Text | Bins | File:
    """The value that shows `item`, whose blob is `data`. Raises PermanentError for content that is not of its form."""
    try:
        if item.form == forms.HISTOGRAM:
            return _bins(data, int(item.options["n"]))
        if item.form == forms.PR_CURVE:
            rows = curves.decode(data).tolist()
            return File("curve.json", json.dumps(dict(zip(curves.ROWS, rows, strict=True))).encode())
        if item.form == forms.MARKDOWN and len(data) <= LONGEST_TEXT:
            return Text(data.decode())
    except (KeyError, ValueError, TypeError, struct.error) as error:
        raise PermanentError(f"{item.kind} {item.name!r} is not of its form {item.form}: {error!r}") from error
    given = str(item.options.get("artifact") or item.options.get("path") or "") if item.kind == "file" else ""
    return File(PurePosixPath(given).name or f"{item.kind}{forms.SUFFIXES.get(item.form, '.bin')}", data)


def files(source: Path) -> Iterator[tuple[str, File]]:
    """A file or a directory that did not travel: what each adds to the name of its series, and the file. Raises
    PermanentError when it can't be read.
    """
    if source.is_dir():
        for inside, path in files_in(source):
            yield "/" + spelt(str(inside)), File(path.name, path)
    else:
        yield "", File(source.name, source)


def identity(item: Media, path: str) -> str:
    """The same whenever it is offered, and another for any other item."""
    what = [path, item.step, item.time, item.blob.digest, item.generation]
    return hashlib.blake2b(json.dumps(what).encode(), digest_size=16).hexdigest()


def _bins(data: bytes, n: int) -> Bins:
    (low, high, *_), uppers, counts = histograms.decode(data, n)
    edges = np.concatenate([[min(low, uppers[0])], np.minimum(uppers, max(high, uppers[0]))])
    counts, edges = _joined(counts, edges)
    return Bins(edges.tolist(), counts.astype(np.int64).tolist())


def _joined(counts: Array, edges: Array) -> tuple[Array, Array]:
    """Neptune's edges rise and are at most 513: what would not is joined to its neighbour."""
    kept = np.flatnonzero(np.concatenate([[True], np.diff(edges) > 0]))
    sums = np.add.reduceat(np.concatenate([[0.0], counts]), kept)
    edges, counts = edges[kept], sums[1:]
    if not len(counts):  # all values are one
        return sums, np.array([edges[0], np.nextafter(edges[0], np.inf)])
    counts[0] += sums[0]
    return thinned(counts, edges, MOST_BINS // 2) if len(counts) > MOST_BINS else (counts, edges)
