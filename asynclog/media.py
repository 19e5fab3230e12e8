"""What can be logged beside numbers: `run.log({"samples": asynclog.Image(t)})`.

Arrays are of NumPy or torch, in the computer's memory or on a GPU, or lists. They are copied once when they are logged,
and encoded by the daemon.
"""

from __future__ import annotations

from asynclog._media.files import File
from asynclog._media.form import Media
from asynclog._media.graphs import Graph
from asynclog._media.pictures import Figure, Image, Images, Video
from asynclog._media.series import Audio, Histogram, PRCurve
from asynclog._media.spaces import Embedding, Mesh
from asynclog._media.texts import Html, Layout, Table, Text

__all__ = [
    "Audio", "Embedding", "Figure", "File", "Graph", "Histogram", "Html", "Image", "Images", "Layout", "Media", "Mesh",
    "PRCurve", "Table", "Text", "Video",
]  # fmt: skip
