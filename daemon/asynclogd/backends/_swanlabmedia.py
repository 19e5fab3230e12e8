"""Media as SwanLab keeps them: files named by step and content, and records that refer to them."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path, PurePosixPath
from typing import Any
from zipfile import ZIP_DEFLATED, ZipFile

import msgspec
import swanlab
from swanlab.proto.swanlab.metric.data.v1.data_pb2 import MediaItem, MediaRecord, MediaValue
from swanlab.proto.swanlab.record.v1.record_pb2 import Record
from swanlab.sdk.internal.pkg import adapter

from asynclogd.backends._artifacts import artifact_path, content, is_table
from asynclogd.backends._files import replace
from asynclogd.backends._sources import files_in, source_of
from asynclogd.backends._swanlabrecords import file_record, moment
from asynclogd.backends.base import Media, PermanentError, RunInfo
from asynclogd.media import forms

LARGEST = 10 * 1024**2
"""Bytes: the SDK drops larger ones (`RecordBuilder._MEDIA_MAX_SIZE`)."""

_KINDS = {
    forms.PNG: (swanlab.Image, "png"),
    forms.GIF: (swanlab.Video, "gif"),
    forms.WAV: (swanlab.Audio, "wav"),
    forms.MARKDOWN: (swanlab.Text, "txt"),
    forms.HTML: (swanlab.Html, "html"),
}


class Items:
    """The media of one run."""

    def __init__(self, run: RunInfo) -> None:
        self._run = run

    def record(self, item: Media, key: str) -> Any:
        """A record of the item, whose bytes are in a file then: of the series `key`, or of a file of the run where
        SwanLab has no such kind. Raises PermanentError, and OSError.
        """
        if (source := source_of(item)) is not None:
            return self._large(item, source)
        if self._run.read_blob is None:
            raise PermanentError("there is no media store to read from")
        data = self._run.read_blob(item.blob)
        if item.kind != "file" and item.form in _KINDS:
            kind, suffix = _KINDS[item.form]
            return self._shown(item, key, kind, suffix, data)
        data = content(item, data)
        if is_table(item) or item.form == forms.HISTOGRAM:
            chart = _table(data) if is_table(item) else _histogram(data)
            return self._shown(item, key, swanlab.ECharts, "json", swanlab.ECharts(chart).json_content.encode())
        place = self._place(item)
        replace(place, [data], fsync=False)
        return file_record(artifact_path(item), place)

    def _shown(self, item: Media, key: str, kind: Any, suffix: str, data: bytes) -> Any:
        if len(data) > LARGEST:
            raise PermanentError(f"{item.kind} {item.name!r} has {len(data)} bytes; SwanLab takes {LARGEST}")
        column = kind.column_type()
        digest = hashlib.sha256(data).hexdigest()
        name = f"{item.step:03d}-{digest[:8]}.{suffix}"
        directory = self._run.own_dir / "media" / adapter.medium[column]
        directory.mkdir(parents=True, exist_ok=True)
        replace(directory / name, [data], fsync=False)
        part = MediaItem(filename=name, sha256=digest, size=len(data), caption=str(item.options.get("caption") or ""))
        value = MediaValue(items=[part])
        media = MediaRecord(key=key, step=item.step, type=column, timestamp=moment(item.time), value=value)
        return Record(media=media)

    def _large(self, item: Media, source: Path) -> Any:
        """A file that was too large to travel: it is where the rank said, as long as nobody removes it."""
        place = self._place(item)
        if source.is_dir():
            place = place.with_name(f"{place.name}.zip")
            with ZipFile(place, "w", ZIP_DEFLATED, strict_timestamps=False) as archive:
                for inside, file in files_in(source):
                    archive.write(file, str(inside))
        else:
            shutil.copyfile(source, place)
        return file_record(str(PurePosixPath(artifact_path(item)).with_name(place.name)), place)

    def _place(self, item: Media) -> Path:
        place = self._run.own_dir / "files" / artifact_path(item)
        place.parent.mkdir(parents=True, exist_ok=True)
        return place


def _table(data: bytes) -> Any:
    found = msgspec.json.decode(data)
    return swanlab.echarts.Table().add(found["columns"], found["data"])


def _histogram(data: bytes) -> Any:
    """A bar for each bin, under its upper edge."""
    found = msgspec.json.decode(data)
    edges = [f"{edge:.4g}" if edge is not None else "inf" for edge in found["edges"]]
    return swanlab.echarts.Bar().add_xaxis(edges).add_yaxis("count", found["counts"])
