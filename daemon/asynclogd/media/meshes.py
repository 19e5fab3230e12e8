"""Meshes and point clouds. Source: torch/utils/tensorboard/summary.py, mesh."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from asynclogd.media.body import Array, Body, is_float, nonfinite, shown
from asynclogd.media.forms import MESH, Encoded, UnfitError
from asynclogd.media.limits import MAX_COORDINATES, check_count
from asynclogd.media.pixels import as_bytes

_AXES = "(B, n, 3)"


def encode(body: Body, options: Mapping[str, Any]) -> Encoded:
    """Vertices, and colours and faces where they are given; `config` is ThreeJS' as JSON."""
    for role in body.roles:
        check_count(f"numbers of {role}", body.array(role).size, MAX_COORDINATES)
    vertices = _threes(body, "vertices")
    if lost := nonfinite(vertices):
        raise UnfitError(f"vertices with {lost} coordinates that are NaN or infinite")
    found = {"vertices": vertices.astype("<f4")}
    if "colors" in body:
        found["colors"] = _colors(body, vertices)
    if "faces" in body:
        found["faces"] = _faces(_threes(body, "faces"), vertices)
    sections = [f"{role}:{part.dtype.name}:{','.join(map(str, part.shape))}" for role, part in found.items()]
    about: dict[str, Any] = {"sections": sections}
    if options.get("config") is not None:
        about["config"] = _config(options["config"])
    return Encoded(MESH, b"".join(part.tobytes() for part in found.values()), about)


def decode(data: bytes, sections: Sequence[str]) -> dict[str, Array]:
    """The arrays of such a blob by their roles: vertices, colors, faces. Raises ValueError."""
    parts, at = {}, 0
    for section in sections:
        role, dtype, sizes = section.split(":")
        shape = tuple(map(int, sizes.split(",")))
        part = np.frombuffer(data, np.dtype(dtype).newbyteorder("<"), math.prod(shape), at)
        parts[role] = part.reshape(shape)
        at += part.nbytes
    return parts


def _threes(body: Body, role: str) -> Array:
    found = body.array(role, dims=3, axes=_AXES)
    if found.shape[2] != 3 or not found.size:
        raise UnfitError(f"{role} of {shown(found)}; {_AXES} is accepted")
    return found


def _colors(body: Body, vertices: Array) -> Array:
    colors = _threes(body, "colors")
    if colors.shape != vertices.shape:
        raise UnfitError(f"colors of {shown(colors)} for vertices of {shown(vertices)}; one each is accepted")
    if is_float(colors):
        return as_bytes(body, "colors")[0]
    if colors.min() < 0 or colors.max() > 255:
        raise UnfitError(
            f"colors from {colors.min()} to {colors.max()}; integers in 0..255 or floats in 0..1 are accepted"
        )
    return colors.astype(np.uint8)


def _faces(faces: Array, vertices: Array) -> Array:
    if is_float(faces) or len(faces) != len(vertices):
        raise UnfitError(f"faces of {shown(faces)} for vertices of {shown(vertices)}; integers (B, m, 3) are accepted")
    if faces.min() < 0 or faces.max() >= vertices.shape[1]:
        least, most = faces.min(), faces.max()
        raise UnfitError(f"faces of the vertices {least} to {most}; 0 to {vertices.shape[1] - 1} are accepted")
    return faces.astype("<i4")


def _config(text: Any) -> str:
    try:
        config = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise UnfitError(f"config is no JSON: {error}") from None
    if not isinstance(config, dict):
        raise UnfitError(f"config is {text!r}; a JSON object is accepted")
    return json.dumps(config, sort_keys=True)
