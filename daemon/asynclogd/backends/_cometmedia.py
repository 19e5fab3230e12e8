"""Media as what Comet's SDK uploads for the same input: which type of asset, with which parameters, and which bytes.

Source: comet_ml/experiment.py (log_image, log_audio, log_video, log_text, log_histogram_3d, log_curve, log_table,
log_model, log_asset) and data_structure.py (Histogram). Ids follow from the item, so that one that is sent again is
the same asset.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec
import numpy as np

from asynclogd.backends._sources import files_in
from asynclogd.backends.base import Media, PermanentError
from asynclogd.media import curves, forms, histograms

TEXT_FILE_NAME = "auto-generated-in-the-backend"
"""What log_text sends: Comet shows a text by its step and metadata."""

START, STOP, FACTOR = 1e-12, 1e20, 1.1
"""Of Comet's bins: start * factor^k up to stop, on both sides of zero."""

_KINDS: Mapping[str, str] = {forms.GIF: "video", forms.WAV: "audio"}

_MODELS = frozenset({"checkpoint", "model"})


@dataclass(frozen=True, slots=True)
class Asset:
    """One upload: Comet's type for it, the request's parameters, the bytes or their file, what is shown beside it."""

    type: str
    params: Mapping[str, Any]
    content: bytes | Path
    suffix: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def identity(self) -> str:
        """32 hex digits: Comet's id of it, the same whenever it is sent."""
        return str(self.params.get("assetId") or self.params["imageId"])


def asset(item: Media, name: str, data: bytes) -> Asset:
    """The upload that shows `item`, whose blob is `data`, under `name`. Raises PermanentError for content that is not
    of its form.
    """
    try:
        return _asset(item, name, data)
    except (KeyError, ValueError, TypeError, struct.error) as error:
        raise PermanentError(f"{item.kind} {item.name!r} is not of its form {item.form}: {error!r}") from error


def files(item: Media, name: str, source: Path) -> Iterator[Asset]:
    """The uploads of a file or directory that did not travel. Raises PermanentError when it can't be read."""
    if source.is_dir():
        for inside, path in files_in(source):
            yield _file(item, name, f"{source.name}/{inside}", path)
    else:
        yield _file(item, name, source.name, source)


def graph_text(data: bytes, options: Mapping[str, Any]) -> str:
    """A GraphDef as Comet keeps TensorFlow's: JSON, sorted."""
    from google.protobuf import json_format
    from google.protobuf.message import DecodeError
    from tensorboard.compat.proto import graph_pb2

    end = len(data) - int(options.get("run_metadata", 0))
    try:
        return str(json_format.MessageToJson(graph_pb2.GraphDef.FromString(data[:end]), sort_keys=True))
    except DecodeError as error:
        raise PermanentError(f"a graph that is no GraphDef: {error}") from error


def _asset(item: Media, name: str, data: bytes) -> Asset:
    if item.form == forms.PNG:
        figure = {"figName": name, "imageId": _identity(item), "overwrite": False, "extension": "png"}
        return Asset("visualization", _params(item, figure), data, ".png", _about(item))
    if item.form == forms.MARKDOWN:
        # The name is Comet's here, so ours is in what is shown beside the text.
        return _named(item, "text-sample", TEXT_FILE_NAME, data, ".txt", {"name": name, **_about(item)})
    if item.form == forms.BYTES:
        given = str(item.options.get("artifact") or item.options.get("path") or "")
        return _file(item, name, PurePosixPath(given).name, data)
    kind, shown, suffix, content = _converted(item, name, data)
    return _named(item, kind, shown, content, suffix, _about(item))


def _converted(item: Media, name: str, data: bytes) -> tuple[str, str, str, bytes]:
    """Comet's type, the asset's name, its suffix and its bytes."""
    if item.form == forms.HISTOGRAM:
        return "histogram3d", name, ".json", msgspec.json.encode(_histogram(data, int(item.options["n"])))
    if item.form == forms.PR_CURVE:
        *_, precision, recall = curves.decode(data).tolist()
        return "curve", name, ".json", msgspec.json.encode({"x": recall, "y": precision, "name": name})
    if item.form == forms.JSON and item.kind == "table":
        return "asset", f"{name}.csv", ".csv", _table(json.loads(data))
    suffix = forms.SUFFIXES.get(item.form, ".bin")
    return _KINDS.get(item.form, "asset"), name + suffix, suffix, data


def _file(item: Media, name: str, inside: str, content: bytes | Path) -> Asset:
    suffix = PurePosixPath(inside).suffix
    if item.options.get("type") in _MODELS:
        params = {"groupingName": name}
        return _named(item, "model-element", inside or name, content, suffix, _about(item), **params)
    return _named(item, "asset", f"{name}/{inside}" if inside else name, content, suffix, _about(item))


def _named(
    item: Media, kind: str, name: str, content: bytes | Path, suffix: str, about: Mapping[str, Any], **more: Any
) -> Asset:
    params = {"fileName": name, "assetId": _identity(item, name), "overwrite": False, "extension": suffix[1:], **more}
    return Asset(kind, _params(item, params if kind == "asset" else {**params, "type": kind}), content, suffix, about)


def _params(item: Media, params: Mapping[str, Any]) -> dict[str, Any]:
    return {"context": None, "step": item.step, **params}


def _about(item: Media) -> dict[str, Any]:
    """What a user wrote of it, and the clip's rate."""
    known = {"caption", "fps", "sample_rate"}
    return {key: value for key, value in item.options.items() if key in known and value is not None}


def _identity(item: Media, inside: str = "") -> str:
    what = [item.name, item.step, item.time, item.kind, item.blob.digest, item.generation, inside]
    return hashlib.blake2b(json.dumps(what).encode(), digest_size=16).hexdigest()


def _table(table: Mapping[str, Any]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table["columns"])
    writer.writerows(table["rows"])
    return text.getvalue().encode()


def _histogram(data: bytes, n: int) -> dict[str, Any]:
    """Bins as Comet's Histogram has them: each of ours counts where its middle is. TensorFlow's bins, which are the
    default, have the same edges.
    """
    (low, high, *_), edges, counts = histograms.decode(data, n)
    uppers = np.minimum(edges, high)
    lowers = np.concatenate([[low], uppers[:-1]])
    middles = (np.maximum(lowers, low) + uppers) / 2
    side = int(np.floor(np.log(STOP / START) / np.log(FACTOR))) + 1
    size = np.maximum(np.abs(middles), START)
    away = np.clip(np.ceil(np.log(size / START) / np.log(FACTOR)).astype(int), 0, side)
    # -inf, the edges below zero, zero, the edges above it, inf
    middle = side + 1
    index = np.where(middles == 0, middle, np.where(middles > 0, middle + away, middle - 1 - away))
    found: dict[int, float] = {}
    for at, count in zip(index.tolist(), counts.tolist(), strict=True):
        if count:
            found[at] = found.get(at, 0.0) + count
    bins = [[at, int(count)] for at, count in sorted(found.items())]
    return {
        "version": 2,
        "index_values": bins,
        "values": None,
        "offset": 0,
        "start": START,
        "stop": STOP,
        "step": FACTOR,
    }
