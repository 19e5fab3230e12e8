from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from asynclogd.media.forms import MESH
from tests.daemon.media.laid import encoded, refusal

POINTS = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
FACES = np.array([[[0, 1, 2]], [[1, 2, 3]]])


def test_sections_end_to_end() -> None:
    colors = np.full((2, 4, 3), 200)
    made = encoded("mesh", {"config": '{"b": 1, "a": [2]}'}, vertices=POINTS, faces=FACES, colors=colors)
    assert made.form == MESH
    assert made.options == {
        "sections": ["vertices:float32:2,4,3", "colors:uint8:2,4,3", "faces:int32:2,1,3"],
        "config": json.dumps({"a": [2], "b": 1}),
    }
    assert made.data == POINTS.tobytes() + colors.astype(np.uint8).tobytes() + FACES.astype("<i4").tobytes()


@pytest.mark.parametrize("dtype", ["float16", "float64", "int16"])
def test_vertices_of_any_dtype_are_float32(dtype: str) -> None:
    assert encoded("mesh", vertices=POINTS.astype(dtype)).data == POINTS.tobytes()


def test_colors_that_are_floats_are_parts_of_one() -> None:
    """SummaryWriter hands them on as they are, and TensorBoard shows them as 0 and 1 of 255."""
    made = encoded("mesh", vertices=POINTS, colors=POINTS / 23)
    assert made.data[POINTS.nbytes :] == (POINTS / 23 * 255).astype(np.uint8).tobytes()


@pytest.mark.parametrize(
    ("parts", "options", "told"),
    [
        ({"vertices": POINTS[0]}, {}, "vertices has the shape [4, 3]; (B, n, 3) is accepted"),
        ({"vertices": POINTS[:, :, :2]}, {}, "vertices of float32 [2, 4, 2]; (B, n, 3) is accepted"),
        ({"vertices": POINTS[:, :0]}, {}, "vertices of float32 [2, 0, 3]"),
        ({"vertices": POINTS * np.nan}, {}, "vertices with 24 coordinates that are NaN or infinite"),
        ({"vertices": POINTS, "colors": POINTS[:1]}, {}, "colors of float32 [1, 4, 3] for vertices"),
        ({"vertices": POINTS, "colors": np.full((2, 4, 3), 256)}, {}, "colors from 256 to 256; integers in 0..255"),
        ({"vertices": POINTS, "faces": FACES[:1]}, {}, "faces of int64 [1, 1, 3] for vertices"),
        ({"vertices": POINTS, "faces": FACES + 1}, {}, "faces of the vertices 1 to 4; 0 to 3 are accepted"),
        ({"vertices": POINTS, "faces": FACES * 1.0}, {}, "integers (B, m, 3) are accepted"),
        ({"vertices": POINTS}, {"config": "{"}, "config is no JSON"),
        ({"vertices": POINTS}, {"config": 5}, "config is no JSON"),
        ({"vertices": POINTS}, {"config": "[]"}, "config is '[]'; a JSON object is accepted"),
        ({"vertices": np.zeros((1, 3_400_000, 3), np.uint8)}, {}, "10200000 numbers of vertices; at most 10000000"),
        ({"faces": FACES}, {}, "mesh with the sections faces; vertices, optionally colors, faces is accepted"),
    ],
)  # fmt: skip
def test_what_is_no_mesh_is_told(parts: dict[str, Any], options: dict[str, Any], told: str) -> None:
    assert told in refusal("mesh", options, **parts)
