"""What SummaryWriter takes and `asynclog.media` does not: made into what that has, when it is logged."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from asynclog import media
from asynclog._media.arrays import array_part
from asynclog._media.form import Form, bytes_part
from asynclog.values import BadValueError
from asynclog_proto.media import Option

MOST_EDGES = 4096
"""They travel in the record."""


class Array(media.Media):
    """A tensor as a file of NumPy's own format; one on a device is waited for."""

    KIND: ClassVar[str] = "file"

    def __init__(self, tensor: Any, tag: str) -> None:
        self.tensor = tensor
        self.tag = tag

    def form(self) -> Form:
        """As Media.form."""
        import numpy as np

        file = io.BytesIO()
        np.save(file, _host(self.tensor), allow_pickle=False)
        options: dict[str, Option] = {"artifact": f"{self.tag}.npy", "type": "file", "size": file.tell()}
        return Form(self.KIND, (bytes_part("file", file.getvalue()),), options)


class Binned(media.Media):
    """A histogram by edges that are given: the daemon counts."""

    KIND: ClassVar[str] = "histogram"

    def __init__(self, values: Any, edges: Any) -> None:
        self.values = values
        self.edges = edges

    def form(self) -> Form:
        """As Media.form."""
        edges = _host(self.edges).reshape(-1).astype(float)
        if not 2 <= len(edges) <= MOST_EDGES or not (edges[1:] >= edges[:-1]).all():
            raise BadValueError(f"has {len(edges)} bins' edges: 2 to {MOST_EDGES} that ascend are accepted", ValueError)
        return Form(self.KIND, (array_part("values", self.values),), {"bins": edges.tolist()})


class Figures(media.Media):
    """One figure as an image of RGB, or several of one size as a grid."""

    KIND: ClassVar[str] = "image"

    def __init__(self, figures: Any) -> None:
        self.figures = figures

    def form(self) -> Form:
        """As Media.form."""
        if not isinstance(self.figures, list):
            return media.Image(_drawn(self.figures), dataformats="HWC").form()
        import numpy as np

        drawn = [_drawn(figure) for figure in self.figures]
        if len({each.shape for each in drawn}) != 1:
            raise BadValueError("is a list of figures: one or more of one size are accepted", ValueError)
        return media.Images(np.stack(drawn), dataformats="NHWC").form()


class OnnxGraph(media.Media):
    """The graph of a model in an ONNX file."""

    KIND: ClassVar[str] = "graph"

    def __init__(self, path: Any) -> None:
        self.path = path

    def form(self) -> Form:
        """As Media.form."""
        from torch.utils.tensorboard._onnx_graph import load_onnx_graph

        return Form(self.KIND, (bytes_part("graph", load_onnx_graph(self.path).SerializeToString()),))


class Curve(media.Media):
    """A PR curve's six rows."""

    KIND: ClassVar[str] = "pr_curve"

    def __init__(self, rows: Sequence[Any]) -> None:
        self.rows = rows

    def form(self) -> Form:
        """As Media.form."""
        import numpy as np

        rows = [_host(row).reshape(-1) for row in self.rows]
        if len({len(row) for row in rows}) != 1:
            lengths = ", ".join(str(len(row)) for row in rows)
            raise BadValueError(f"is a curve of {lengths} numbers: equally many are accepted", ValueError)
        return media.PRCurve.of_counts(np.stack(rows)).form()


def image(data: Any, dataformats: str) -> media.Media:
    """An image, or a grid; SummaryWriter takes the letters of `dataformats` in any order."""
    letters = dataformats.upper()
    wanted = {4: "NCHW", 3: "CHW", 2: "HW"}.get(len(letters), "")
    if letters not in {"NCHW", "NHWC", "CHW", "HWC", "HW"} and sorted(letters) == sorted(wanted):
        data, letters = _permuted(data, [letters.index(each) for each in wanted]), wanted
    if "N" in letters:
        return media.Images(data, dataformats=letters)
    return media.Image(data, dataformats=letters)


def close(figures: Any) -> None:
    """Close one figure or several, where pyplot knows them."""
    pyplot = sys.modules.get("matplotlib.pyplot")
    if pyplot is not None:
        for figure in figures if isinstance(figures, list) else [figures]:
            if isinstance(figure, pyplot.Figure):
                pyplot.close(figure)


def _permuted(data: Any, order: Sequence[int]) -> Any:
    """A view where there is one. What has other dimensions is left for `form` to refuse."""
    if len(getattr(data, "shape", ())) != len(order):
        return data
    return data.permute(*order) if hasattr(data, "permute") else data.transpose(order)


def _drawn(figure: Any) -> Any:
    """(H, W, 3)."""
    pixels: Any = media.Figure(figure).form().parts[0].data
    return pixels[..., :3]


def _host(value: Any) -> Any:
    """An array of NumPy. Raises BadValueError for what is none of numbers, and whatever a foreign array does."""
    import numpy as np

    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = value.float() if str(value.dtype) == "torch.bfloat16" else value
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise BadValueError(f"is of dtype {array.dtype}: numbers are accepted", ValueError)
    return array
