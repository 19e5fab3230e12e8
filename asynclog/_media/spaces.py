"""Points in a space: embeddings and meshes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from asynclog._media.arrays import array_part, refused
from asynclog._media.form import Form, Media, Part, text_part
from asynclog.values import BadValueError
from asynclog_proto.media import Option


class Embedding(Media):
    """Points for TensorBoard's projector.

    Args:
        matrix: (N, D), a point a row.
        metadata: N labels, or N lists of texts, one for each of `metadata_header`.
        label_images: (N, C, H, W) pictures of the points, values as in Image.
        metadata_header: Names of the columns of `metadata`.
    """

    KIND: ClassVar[str] = "embedding"

    def __init__(
        self,
        matrix: Any,
        *,
        metadata: Sequence[Any] | None = None,
        label_images: Any = None,
        metadata_header: Sequence[str] | None = None,
    ) -> None:
        self.matrix = matrix
        self.metadata = metadata
        self.label_images = label_images
        self.metadata_header = metadata_header

    def form(self) -> Form:
        """As Media.form."""
        matrix = array_part("matrix", self.matrix)
        if len(matrix.section.shape) != 2:
            raise refused(matrix, "accepted is (N, D)")
        count = matrix.section.shape[0]
        parts, options = [matrix], dict[str, Option]()
        if self.metadata is not None:
            parts.append(text_part("metadata", _metadata(self.metadata, count)))
        if self.label_images is not None:
            images = array_part("label_images", self.label_images)
            if len(images.section.shape) != 4 or images.section.shape[0] != count:
                raise refused(images, f"accepted is ({count}, C, H, W), an image for each row of the matrix")
            parts.append(images)
        if self.metadata_header is not None:
            options["metadata_header"] = [str(name) for name in self.metadata_header]
        return Form(self.KIND, tuple(parts), options)


def _metadata(metadata: Any, count: int) -> str:
    rows = metadata.tolist() if hasattr(metadata, "tolist") else list(metadata)
    if len(rows) != count:
        text = f"has {len(rows)} labels for {count} rows of the matrix: one each is accepted"
        raise BadValueError(text, ValueError)
    texts = [list(map(str, row)) if isinstance(row, (list, tuple)) else str(row) for row in rows]
    return json.dumps(texts, ensure_ascii=False)


class Mesh(Media):
    """A mesh or a cloud of points.

    Args:
        vertices: (B, n, 3) floats.
        colors: (B, n, 3), 0 to 255.
        faces: (B, m, 3) indices of vertices.
        config: Of the viewer, as SummaryWriter.add_mesh takes it.
    """

    KIND: ClassVar[str] = "mesh"

    def __init__(
        self, vertices: Any, *, colors: Any = None, faces: Any = None, config: Mapping[str, Any] | None = None
    ) -> None:
        self.vertices = vertices
        self.colors = colors
        self.faces = faces
        self.config = config

    def form(self) -> Form:
        """As Media.form."""
        vertices = _triples("vertices", self.vertices, "float32")
        parts = [vertices]
        if self.colors is not None:
            colors = _triples("colors", self.colors, "uint8")
            if colors.section.shape != vertices.section.shape:
                raise refused(colors, f"accepted is the shape of the vertices, {vertices.section.shape}")
            parts.append(colors)
        if self.faces is not None:
            faces = _triples("faces", self.faces, "int32")
            if faces.section.shape[0] != vertices.section.shape[0]:
                raise refused(faces, f"accepted is a batch of {vertices.section.shape[0]}, as of the vertices")
            parts.append(faces)
        options: dict[str, Option] = {} if self.config is None else {"config": json_text("config", self.config)}
        return Form(self.KIND, tuple(parts), options)


def _triples(role: str, value: Any, dtype: str) -> Part:
    part = array_part(role, value, dtype)
    if len(part.section.shape) != 3 or part.section.shape[2] != 3:
        raise refused(part, "accepted is (B, n, 3)")
    return part


def json_text(what: str, value: Any) -> str:
    """`value` as JSON, what JSON lacks as its text. Raises BadValueError where there is no way."""
    try:
        return json.dumps(value, ensure_ascii=False, default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise BadValueError(f"has a {what} that can't be JSON: {error}", ValueError) from error


def _plain(value: Any) -> Any:
    """Scalars and arrays as numbers, everything else as its text."""
    return value.tolist() if hasattr(value, "tolist") else str(value)
