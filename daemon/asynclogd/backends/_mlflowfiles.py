"""Media as MLflow's artifacts: which path, and which bytes there.

A path follows from name and step, so that an item that is sent again after a crash replaces itself.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import struct
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import quote

import msgspec
import numpy as np

from asynclogd.backends.base import Blob, Media, PermanentError
from asynclogd.media import forms, histograms

LONGEST_PART = 120
"""Characters of one part of a path, escapes included."""

TABLES_TAG = "mlflow.loggedArtifacts"
"""Where MLflow's UI and `load_table` look for tables: JSON."""

LONGEST_TAG = 8000

SUFFIXES: Mapping[str, str] = {
    forms.PNG: ".png",
    forms.GIF: ".gif",
    forms.WAV: ".wav",
    forms.MARKDOWN: ".md",
    forms.HTML: ".html",
    forms.JSON: ".json",
    forms.HISTOGRAM: ".json",
    forms.PR_CURVE: ".json",
    forms.MESH: ".mesh",
    forms.EMBEDDING: ".zip",
    forms.GRAPH: ".pb",
}

_CURVE = ("true_positives", "false_positives", "true_negatives", "false_negatives", "precision", "recall")


class Files:
    """The artifacts of one run."""

    def __init__(self, client: Any, run: Any, read_blob: Callable[[Blob], bytes] | None) -> None:
        """`client` and `run` are MLflow's."""
        self._client, self._run_id, self._read_blob = client, str(run.info.run_id), read_blob
        self._tables: list[dict[str, str]] = json.loads(run.data.tags.get(TABLES_TAG, "[]"))

    def log(self, item: Media) -> None:
        """Send an item. Raises PermanentError, and what MLflow raises."""
        path = PurePosixPath(artifact_path(item))
        source = item.options.get("path")
        if item.kind == "file" and not item.blob.size and isinstance(source, str):
            self._log_file(Path(source), path)
            return
        if self._read_blob is None:
            raise PermanentError("there is no media store to read from")
        data = content(item, self._read_blob(item.blob))
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory, path.name)
            file.write_bytes(data)
            self._client.log_artifact(self._run_id, str(file), str(path.parent))
        if is_table(item):
            self._show_table(str(path))

    def _log_file(self, source: Path, path: PurePosixPath) -> None:
        """One that was too large to travel: it is where the rank said, as long as nobody removes it."""
        if source.is_dir():
            self._client.log_artifacts(self._run_id, str(source), str(path))
        elif source.is_file():
            self._client.log_artifact(self._run_id, str(source), str(path.parent))
        else:
            raise PermanentError(f"{source} is not there any more")

    def _show_table(self, path: str) -> None:
        table = {"path": path, "type": "table"}
        text = json.dumps([*self._tables, table])
        if table not in self._tables and len(text) <= LONGEST_TAG:  # beyond it a table is a file as others are
            self._client.set_tag(self._run_id, TABLES_TAG, text)
            self._tables.append(table)


def artifact_path(item: Media) -> str:
    """Where an item's bytes go in the run's artifacts: `media/<name>/step_<n>.png`, or `.../step_<n>/<file name>`."""
    parts = ["media", *map(_part, item.name.split("/"))]
    given = item.options.get("artifact") or item.options.get("path")
    if item.kind == "file" and isinstance(given, str) and PurePosixPath(given).name:
        return posixpath.join(*parts, f"step_{item.step}", _part(PurePosixPath(given).name))
    return posixpath.join(*parts, f"step_{item.step}{SUFFIXES.get(item.form, '.bin')}")


def content(item: Media, data: bytes) -> bytes:
    """The bytes as MLflow's users read them: numbers as JSON, a table as `mlflow.load_table` does."""
    try:
        if item.form == forms.HISTOGRAM:
            return msgspec.json.encode(_histogram(data, int(item.options["n"])))
        if item.form == forms.PR_CURVE:
            rows = np.frombuffer(data, "<f4").reshape(len(_CURVE), -1)
            return msgspec.json.encode(dict(zip(_CURVE, rows.tolist(), strict=True)))
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
