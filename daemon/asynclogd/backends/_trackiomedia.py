"""Media as trackio keeps them: a value in a row, whose bytes are a file in trackio's directory where it has any.

A file's name follows from its bytes, so that an item that is sent again after a crash replaces itself.
"""

from __future__ import annotations

import shutil
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
from trackio import Histogram, Markdown, Table
from trackio.media import TrackioAudio, TrackioHtml, TrackioImage, TrackioVideo, get_project_media_path
from trackio.utils import MEDIA_DIR

from asynclogd.backends._artifacts import artifact_path, content, is_table
from asynclogd.backends._files import replace
from asynclogd.backends._sources import files_in, source_of
from asynclogd.backends.base import Media, PermanentError, RunInfo
from asynclogd.media import forms

_FILES = {
    forms.PNG: (TrackioImage.TYPE, ".png"),
    forms.GIF: (TrackioVideo.TYPE, ".gif"),
    forms.WAV: (TrackioAudio.TYPE, ".wav"),
    forms.HTML: (TrackioHtml.TYPE, ".html"),
}


class Shown:
    """The media of one run."""

    def __init__(self, project: str, run: RunInfo) -> None:
        self._project, self._run = project, run

    def value(self, item: Media) -> dict[str, Any] | None:
        """The item as a value of a row; None when it became a file of the project, for trackio has no such kind. Raises
        PermanentError, and OSError.
        """
        if (source := source_of(item)) is not None:
            self._copy(item, source)
            return None
        if self._run.read_blob is None:
            raise PermanentError("there is no media store to read from")
        data = self._run.read_blob(item.blob)
        if item.kind != "file" and item.form in _FILES:
            return self._file(item, data)
        if item.form == forms.MARKDOWN:
            return {"_type": Markdown.TYPE, "_value": data.decode(errors="replace")}
        data = content(item, data)
        if item.form == forms.HISTOGRAM:
            return _histogram(data)
        if is_table(item):
            return _table(data)
        replace(self._place(item), [data], fsync=False)
        return None

    def _file(self, item: Media, data: bytes) -> dict[str, Any]:
        kind, suffix = _FILES[item.form]
        path = get_project_media_path(self._project, self._run.name, item.step) / f"{item.blob.digest}{suffix}"
        replace(path, [data], fsync=False)
        return {"_type": kind, "file_path": str(path.relative_to(MEDIA_DIR)), "caption": item.options.get("caption")}

    def _copy(self, item: Media, source: Path) -> None:
        """A file that was too large to travel: it is where the rank said, as long as nobody removes it."""
        place = self._place(item)
        if not source.is_dir():
            shutil.copyfile(source, place)
            return
        for inside, file in files_in(source):
            (place / inside).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place / inside)

    def _place(self, item: Media) -> Path:
        """Among the project's files: `<run>/media/<name>/step_<n>.<suffix>`."""
        path = PurePosixPath(self._run.name, artifact_path(item))
        directory: Path = get_project_media_path(self._project, relative_path=path.parent)
        return directory / path.name


def _histogram(data: bytes) -> dict[str, Any]:
    """Of n counts trackio has n + 1 edges; ours are the upper ones, and an empty first bin tells the lower edge."""
    found = msgspec.json.decode(data)
    edges = [found["max"] if edge is None else edge for edge in found["edges"]]  # JSON has no infinity
    counts = found["counts"]
    if counts[0] or len(counts) == 1:
        edges.insert(0, min(found["min"], edges[0]))
    else:
        counts = counts[1:]
    return {"_type": Histogram.TYPE, "bins": edges, "values": counts}


def _table(data: bytes) -> dict[str, Any]:
    found = msgspec.json.decode(data)
    return {"_type": Table.TYPE, "_value": [dict(zip(found["columns"], row, strict=False)) for row in found["data"]]}
