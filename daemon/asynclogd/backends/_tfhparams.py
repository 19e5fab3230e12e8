"""What TensorBoard's HParams and Text tabs read: summaries that carry their content as metadata or text.

No Experiment summary is written: TensorBoard takes the first one it finds under a logdir for all of its runs, and
then hides the hyperparameters that only other runs have. Without one it collects columns from every run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from asynclog_proto.records import Scalar
from asynclogd.backends import _tfevents

START_TAG = "_hparams_/session_start_info"
END_TAG = "_hparams_/session_end_info"
_EXACT = 2**53
_STATUSES = {"STATUS_SUCCESS": "success", "STATUS_FAILURE": "failed", "STATUS_RUNNING": "running"}
"""The plugin knows no killed run: it has failed."""


@dataclass(slots=True)
class Session:
    """A run as the HParams tab shows it: its hyperparameters so far, when it began, and how it ended if it did."""

    start_time: float
    params: dict[str, Scalar] = field(default_factory=dict)
    end: tuple[str, float] | None = None

    def to_file(self) -> bytes:
        """An event file of its own that says all of it."""
        parts = [_tfevents.event(self.start_time, 0, _tfevents.VERSION)]
        if self.params:
            parts.append(_tfevents.event(self.start_time, 0, session_start(self.params, self.start_time)))
        if self.end is not None:
            parts.append(_tfevents.event(self.end[1], 0, session_end(*self.end)))
        return b"".join(parts)


def session_from_file(data: bytes) -> Session:
    """What `Session.to_file` wrote. Raises ValueError where that is spoiled or not whole."""
    from tensorboard.compat.proto import event_pb2
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

    session = Session(0.0)
    for event in map(event_pb2.Event.FromString, _tfevents.events(data)):
        for value in event.summary.value:
            content = plugin_data_pb2.HParamsPluginData.FromString(value.metadata.plugin_data.content)
            if value.tag == START_TAG:
                session.params = {name: _get(v) for name, v in content.session_start_info.hparams.items()}
            elif value.tag == END_TAG:
                status = api_pb2.Status.Name(content.session_end_info.status)
                session.end = (_STATUSES[status], event.wall_time)
        session.start_time = session.start_time or event.wall_time
    return session


def session_start(params: Mapping[str, Scalar], time: float) -> bytes:
    """The Event field that says with which hyperparameters the run began at `time`."""
    from tensorboard.plugins.hparams import plugin_data_pb2

    info = plugin_data_pb2.SessionStartInfo(start_time_secs=time)
    for name, value in params.items():
        _set(info.hparams[name], value)
    return _hparams(START_TAG, plugin_data_pb2.HParamsPluginData(session_start_info=info))


def session_end(status: str, time: float) -> bytes:
    """The Event field that says how the run ended, or that it is "running" after all."""
    from tensorboard.plugins.hparams import api_pb2, plugin_data_pb2

    name = next((name for name, meant in _STATUSES.items() if meant == status), "STATUS_FAILURE")
    info = plugin_data_pb2.SessionEndInfo(status=api_pb2.Status.Value(name), end_time_secs=time)
    return _hparams(END_TAG, plugin_data_pb2.HParamsPluginData(session_end_info=info))


def text(tag: str, content: str) -> bytes:
    """The Event field of one text, as SummaryWriter.add_text writes it."""
    return _metadata_summary(f"{tag}/text_summary", "text", b"", content)


def _set(target: Any, value: Scalar) -> None:
    if isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, float) or (isinstance(value, int) and abs(value) <= _EXACT):
        target.number_value = value
    else:
        target.string_value = str(value)


def _get(value: Any) -> Scalar:
    kind = value.WhichOneof("kind")
    result: Scalar = getattr(value, kind) if kind else None
    return result


def _hparams(tag: str, content: Any) -> bytes:
    return _metadata_summary(tag, "hparams", content.SerializeToString(), None)


def _metadata_summary(tag: str, plugin: str, metadata: bytes, content: str | None) -> bytes:
    from tensorboard.compat.proto import summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

    size = tensor_shape_pb2.TensorShapeProto.Dim(size=0 if content is None else 1)
    tensor = tensor_pb2.TensorProto(
        dtype=types_pb2.DT_FLOAT if content is None else types_pb2.DT_STRING,
        string_val=[] if content is None else [content.encode("utf-8", "replace")],
        tensor_shape=tensor_shape_pb2.TensorShapeProto(dim=[size]),
    )
    about = summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin, content=metadata)
    value = summary_pb2.Summary.Value(tag=tag, metadata=summary_pb2.SummaryMetadata(plugin_data=about), tensor=tensor)
    return _tfevents.message(5, _tfevents.message(1, value.SerializeToString()))
