"""What encoders make of media: the forms that are stored and that backends read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

PNG = "image/png"
"""Options: width, height, channels (2 to 4: grey is written as RGB); unscaled, [width, height] before `rescale` where
that changed them; nonfinite, how many values were NaN or infinite, when any were (of a GIF and a WAV too)."""

GIF = "image/gif"
"""Options: width, height, channels, frames, fps."""

WAV = "audio/wav"
"""16-bit PCM. Options: sample_rate, channels, frames."""

MARKDOWN = "text/markdown"
HTML = "text/html"
JSON = "application/json"
"""A table ({"columns": [...], "rows": [[...]]}) or a custom scalars layout ({category: {chart: [kind, [tags]]}})."""

HISTOGRAM = "application/x-asynclog-histogram"
"""float64, little-endian: min, max, num, sum, sum of squares, then n upper edges, then n counts (as in TensorBoard's
HistogramProto). Options: n, nonfinite (how many values were NaN or infinite and are in no bin)."""

PR_CURVE = "application/x-asynclog-pr-curve"
"""float32 (6, n): true positives, false positives, true negatives, false negatives, precision, recall, as in
TensorBoard's pr_curve plugin. Options: n, num_thresholds; nonfinite, how many predictions were NaN or infinite and are
left out, when any were."""

MESH = "application/x-asynclog-mesh"
"""The record's sections end to end: vertices float32 (B, n, 3), colors uint8 (B, n, 3), faces int32 (B, m, 3). Options:
`sections`, a list of role, dtype and shape as one string "vertices:float32:1,8,3", and config (JSON) when given."""

EMBEDDING = "application/zip"
"""tensors.tsv, and metadata.tsv and sprite.png where they were given, as the projector reads them. Options: n, dims,
sprite_width, sprite_height: pixels of one picture of the sprite (0 without one)."""

GRAPH = "application/x-graphdef"
"""A serialized tensorflow GraphDef; option run_metadata: bytes of it at the end that are a serialized RunMetadata."""

BYTES = "application/octet-stream"

SUFFIXES: Mapping[str, str] = {
    PNG: ".png",
    GIF: ".gif",
    WAV: ".wav",
    MARKDOWN: ".md",
    HTML: ".html",
    JSON: ".json",
    HISTOGRAM: ".json",
    PR_CURVE: ".json",
    MESH: ".mesh",
    EMBEDDING: ".zip",
    GRAPH: ".pb",
}
"""What a file's name ends with where a product has no kind for a form; numbers are written as JSON there."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """What an encoder made; `options` join those of the record."""

    form: str
    data: bytes
    options: Mapping[str, Any] = field(default_factory=dict)


class DroppedError(Exception):
    """The item's rank had no room for its body any more, and dropped it for later ones."""


class UnfitError(Exception):
    """The item can't be encoded, and never will be: the text says what was wrong and what is accepted."""
