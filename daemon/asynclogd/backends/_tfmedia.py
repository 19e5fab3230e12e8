"""Media as the Events that SummaryWriter writes for the same input: its tags, protobuf fields and plugins.

Source: torch/utils/tensorboard/summary.py and writer.py. A caption is the description of a value, which
TensorBoard shows.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np

from asynclogd.backends import _tfevents
from asynclogd.backends._tfhparams import text
from asynclogd.backends._tftexts import file_text, table_text
from asynclogd.backends.base import Media, PermanentError
from asynclogd.media import curves, forms, histograms, meshes

_THRESHOLDS = 127
_LAYOUT_TAG = "custom_scalars__config__"
_METADATA_TAG = "step1"


def events(item: Media, data: bytes) -> list[bytes]:
    """The fields of the Events that show `item`, whose blob is `data`.

    Raises PermanentError for a form that TensorBoard has no place for, or content that is not of that form.
    """
    writer = _WRITERS.get(item.form)
    if writer is None:
        raise PermanentError(f"TensorBoard has no place for {item.kind} as {item.form}")
    try:
        return writer(item, data)
    except (KeyError, ValueError, TypeError) as error:
        raise PermanentError(f"{item.name}: a blob that is not {item.form}: {error!r}") from error


def _image(item: Media, data: bytes) -> list[bytes]:
    """`unscaled`: SummaryWriter tells the size that a picture had before its `rescale`."""
    from tensorboard.compat.proto import summary_pb2

    about = item.options
    width, height = about.get("unscaled") or (about["width"], about["height"])
    content = summary_pb2.Summary.Image(
        height=height, width=width, colorspace=about["channels"], encoded_image_string=data
    )
    return [_value(item, image=content, **_described(item, "images"))]


def _audio(item: Media, data: bytes) -> list[bytes]:
    from tensorboard.compat.proto import summary_pb2

    content = summary_pb2.Summary.Audio(
        sample_rate=item.options["sample_rate"],
        num_channels=item.options["channels"],
        length_frames=item.options["frames"],
        encoded_audio_string=data,
        content_type=item.form,
    )
    return [_value(item, audio=content, **_described(item, "audio"))]


def _histogram(item: Media, data: bytes) -> list[bytes]:
    from tensorboard.compat.proto import summary_pb2

    (least, most, num, total, squares), edges, counts = histograms.decode(data, item.options["n"])
    content = summary_pb2.HistogramProto(
        min=least, max=most, num=num, sum=total, sum_squares=squares, bucket_limit=edges, bucket=counts
    )
    return [_value(item, histo=content)]


def _pr_curve(item: Media, data: bytes) -> list[bytes]:
    from tensorboard.plugins.pr_curve import plugin_data_pb2

    rows = curves.decode(data, item.options["n"])
    thresholds = min(_THRESHOLDS, item.options.get("num_thresholds", _THRESHOLDS))
    about = plugin_data_pb2.PrCurvePluginData(version=0, num_thresholds=thresholds)
    return [_value(item, tensor=_floats(rows), metadata=_plugin("pr_curves", about))]


def _mesh(item: Media, data: bytes) -> list[bytes]:
    from tensorboard.compat.proto import summary_pb2
    from tensorboard.plugins.mesh import metadata
    from tensorboard.plugins.mesh.plugin_data_pb2 import MeshPluginData

    parts = meshes.decode(data, item.options["sections"])
    kinds = {"vertices": MeshPluginData.VERTEX, "faces": MeshPluginData.FACE, "colors": MeshPluginData.COLOR}
    found = [(parts[role], kind) for role, kind in kinds.items() if role in parts]
    components = metadata.get_components_bitmask([kind for _, kind in found])
    config, name, values = item.options.get("config") or "{}", _utf8(item.name), []
    for part, kind in found:
        about = metadata.create_summary_metadata(
            name, None, kind, components, part.shape, item.options.get("caption"), json_config=config
        )
        tag = metadata.get_instance_name(name, kind)
        values.append(summary_pb2.Summary.Value(tag=tag, tensor=_floats(part), metadata=about))
    return [_tfevents.message(5, summary_pb2.Summary(value=values).SerializeToString())]


def _graph(item: Media, data: bytes) -> list[bytes]:
    """Event.graph_def (4), then Event.tagged_run_metadata (8) with its fields tag (1) and run_metadata (2)."""
    end = len(data) - item.options.get("run_metadata", 0)
    found = [_tfevents.message(4, data[:end])]
    if end < len(data):
        tagged = _tfevents.message(1, _METADATA_TAG.encode()) + _tfevents.message(2, data[end:])
        found.append(_tfevents.message(8, tagged))
    return found


def _text(item: Media, data: bytes) -> list[bytes]:
    """Markdown, and HTML, of which TensorBoard's text tab shows what it takes for safe."""
    return [text(_utf8(item.name), data.decode("utf-8", "replace"))]


def _json(item: Media, data: bytes) -> list[bytes]:
    return _layout(item, data) if item.kind == "layout" else [text(_utf8(item.name), table_text(data))]


def _layout(item: Media, data: bytes) -> list[bytes]:
    from tensorboard.compat.proto import tensor_pb2, tensor_shape_pb2, types_pb2
    from tensorboard.plugins.custom_scalar import layout_pb2

    layout = layout_pb2.Layout()
    for category, charts in json.loads(data).items():
        added = layout.category.add(title=_utf8(category))
        for title, (kind, tags) in charts.items():
            chart = added.chart.add(title=_utf8(title))
            if kind == "Margin":
                value, lower, upper = map(_utf8, tags)
                chart.margin.series.add(value=value, lower=lower, upper=upper)
            else:
                chart.multiline.tag.extend(map(_utf8, tags))
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_STRING,
        string_val=[layout.SerializeToString()],
        tensor_shape=tensor_shape_pb2.TensorShapeProto(),
    )
    return [_value(item, tag=_LAYOUT_TAG, tensor=tensor, metadata=_plugin("custom_scalars"))]


def _file(item: Media, data: bytes) -> list[bytes]:
    return [text(_utf8(item.name), file_text(item.options, len(data)))]


_WRITERS: Mapping[str, Callable[[Media, bytes], list[bytes]]] = MappingProxyType({
    forms.PNG: _image,
    forms.GIF: _image,
    forms.WAV: _audio,
    forms.HISTOGRAM: _histogram,
    forms.PR_CURVE: _pr_curve,
    forms.MESH: _mesh,
    forms.GRAPH: _graph,
    forms.MARKDOWN: _text,
    forms.HTML: _text,
    forms.JSON: _json,
    forms.BYTES: _file,
})  # fmt: skip


def _value(item: Media, tag: str | None = None, **content: Any) -> bytes:
    """The Event field of one value."""
    from tensorboard.compat.proto import summary_pb2

    value = summary_pb2.Summary.Value(tag=_utf8(item.name if tag is None else tag), **content)
    return _tfevents.message(5, _tfevents.message(1, value.SerializeToString()))


def _described(item: Media, plugin: str) -> dict[str, Any]:
    """Metadata with the caption, where there is one: SummaryWriter's pictures have no metadata."""
    caption = item.options.get("caption")
    if not caption:
        return {}
    from tensorboard.compat.proto import summary_pb2

    metadata = _plugin(plugin)
    metadata.summary_description = _utf8(str(caption))
    metadata.data_class = summary_pb2.DATA_CLASS_BLOB_SEQUENCE  # else TensorBoard's data server makes its own
    return {"metadata": metadata}


def _plugin(name: str, about: Any = None) -> Any:
    from tensorboard.compat.proto import summary_pb2

    content = b"" if about is None else about.SerializeToString()
    data = summary_pb2.SummaryMetadata.PluginData(plugin_name=name, content=content)
    return summary_pb2.SummaryMetadata(plugin_data=data)


def _floats(array: Any) -> Any:
    from tensorboard.compat.proto import tensor_pb2, tensor_shape_pb2, types_pb2

    shape = tensor_shape_pb2.TensorShapeProto(dim=[{"size": size} for size in array.shape])
    return tensor_pb2.TensorProto(
        dtype=types_pb2.DT_FLOAT, float_val=array.astype(np.float32).ravel().tolist(), tensor_shape=shape
    )


def _utf8(name: str) -> str:
    return name.encode("utf-8", "replace").decode()
