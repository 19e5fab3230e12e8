from __future__ import annotations

from typing import Any

import pytest
from tensorboard.compat.proto import config_pb2, graph_pb2

from asynclogd.media.forms import GRAPH
from tests.daemon.media.laid import encoded, refusal


def graph_bytes(nodes: int = 3) -> bytes:
    graph = graph_pb2.GraphDef()
    for number in range(nodes):
        graph.node.add(name=f"node{number}", op="Identity")
    data: bytes = graph.SerializeToString()
    return data


def test_a_graph_is_kept_as_it_is_and_its_nodes_are_counted() -> None:
    made = encoded("graph", graph=graph_bytes())
    assert (made.form, made.data) == (GRAPH, graph_bytes())
    assert made.options == {"nodes": 3, "run_metadata": 0}


def test_run_metadata_is_at_the_end() -> None:
    metadata = config_pb2.RunMetadata()
    metadata.step_stats.dev_stats.add(device="/device:CPU:0")
    tail = metadata.SerializeToString()
    made = encoded("graph", graph=graph_bytes(), run_metadata=tail)
    assert made.data == graph_bytes() + tail
    assert made.options["run_metadata"] == len(tail)


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        ({"graph": b"no graph at all"}, "graph of 15 bytes is no serialized GraphDef"),
        ({"graph": b""}, "a graph without nodes"),
        ({"graph": graph_bytes(), "run_metadata": b"\xff"}, "run_metadata of 1 bytes is no serialized RunMetadata"),
        ({"run_metadata": b""}, "graph with the sections run_metadata; graph, optionally run_metadata is accepted"),
    ],
)
def test_what_is_no_graph_is_told(parts: dict[str, Any], told: str) -> None:
    assert told in refusal("graph", **parts)
