"""Media as files of a product that has no kind for them: a path, and bytes that its users can read.

A path follows from name and step, so that an item that is sent again after a crash replaces itself.
"""

from __future__ import annotations

import hashlib
import posixpath
import struct
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote

import msgspec

from asynclogd.backends.base import Media, PermanentError
from asynclogd.media import curves, forms, histograms

LONGEST_PART = 120
"""Characters of one part of a path, escapes included."""


def artifact_path(item: Media) -> str:
    """Where an item's bytes go in the run's artifacts: `media/<name>/step_<n>.png`, or `.../step_<n>/<file name>`."""
    parts = ["media", *map(_part, item.name.split("/"))]
    given = item.options.get("artifact") or item.options.get("path")
    if item.kind == "file" and isinstance(given, str) and PurePosixPath(given).name:
        return posixpath.join(*parts, f"step_{item.step}", _part(PurePosixPath(given).name))
    return posixpath.join(*parts, f"step_{item.step}{forms.SUFFIXES.get(item.form, '.bin')}")


def content(item: Media, data: bytes) -> bytes:
    """The bytes as users read them: numbers as JSON, a table as `mlflow.load_table` and pandas' "split" have it."""
    try:
        if item.form == forms.HISTOGRAM:
            return msgspec.json.encode(_histogram(data, int(item.options["n"])))
        if item.form == forms.PR_CURVE:
            return msgspec.json.encode(dict(zip(curves.ROWS, curves.decode(data).tolist(), strict=True)))
        if is_table(item):
            table = msgspec.json.decode(data)
            return msgspec.json.encode({"columns": table["columns"], "data": table["rows"]})
    except (KeyError, ValueError, TypeError, struct.error) as error:
        raise PermanentError(f"{item.kind} {item.name!r} is not of its form {item.form}: {error}") from error
    return data


def is_table(item: Media) -> bool:
    """Whether MLflow shows it as a table."""
    return item.kind == "table" and item.form == forms.JSON


def _histogram(data: bytes, n: int) -> dict[str, Any]:
    (low, high, num, total, squares), edges, counts = histograms.decode(data, n)
    bins = {"edges": edges.tolist(), "counts": counts.tolist()}
    return {"min": low, "max": high, "num": num, "sum": total, "sum_squares": squares, **bins}


def _part(text: str) -> str:
    """One part of a path: what a file system or a URL may take otherwise is percent-encoded."""
    escaped = quote(text, safe=" =+,@()")
    if escaped.strip(". ") != escaped or not escaped:
        escaped = "".join(f"%{ord(each):02X}" if each in ". " else each for each in escaped) or "%00"
    if len(escaped) > LONGEST_PART:
        digest = hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
        escaped = f"{escaped[: LONGEST_PART - 17]}~{digest}"
    return escaped
