"""A model's graph: a TensorFlow GraphDef that the rank made (torch.utils.tensorboard's `graph`), checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from asynclogd.media.body import Body
from asynclogd.media.forms import GRAPH, Encoded, UnfitError


def encode(body: Body, options: Mapping[str, Any]) -> Encoded:
    """The bytes as they are, if TensorBoard can read them."""
    # Here, for it takes a quarter of a second, and most workers see no graph.
    from tensorboard.compat.proto import config_pb2, graph_pb2

    del options
    graph = body.raw("graph")
    nodes = len(_read(graph_pb2.GraphDef, "graph", graph).node)
    if not nodes:
        raise UnfitError("a graph without nodes")
    metadata = body.raw("run_metadata") if "run_metadata" in body else b""
    _read(config_pb2.RunMetadata, "run_metadata", metadata)
    return Encoded(GRAPH, graph + metadata, {"nodes": nodes, "run_metadata": len(metadata)})


def _read(message: Any, role: str, data: bytes) -> Any:
    from google.protobuf.message import DecodeError

    try:
        return message.FromString(data)
    except DecodeError as error:
        raise UnfitError(f"{role} of {len(data)} bytes is no serialized {message.DESCRIPTOR.name}: {error}") from None
