"""The methods of a run that log one media item each."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence
from typing import Any

import asynclog


class MediaLog(abc.ABC):
    """`log` of a dictionary with one item of asynclog.media, for those who like a method better.

    `name` is the item's, `step` as in `Run.log`. What can't be logged is told as there.
    """

    @abc.abstractmethod
    def log(
        self, metrics: Mapping[str, Any], step: int | None = None, *, reduce: Any = None, weight: float | None = None
    ) -> None:
        """`Run.log`."""

    def log_image(self, name: str, image: Any, step: int | None = None, **options: Any) -> None:
        """Log an image, as asynclog.Image takes it."""
        self.log({name: asynclog.Image(image, **options)}, step)

    def log_images(self, name: str, images: Any, step: int | None = None, **options: Any) -> None:
        """Log a grid of images, as asynclog.Images takes them."""
        self.log({name: asynclog.Images(images, **options)}, step)

    def log_figure(
        self, name: str, figure: Any, step: int | None = None, *, close: bool = False, caption: str | None = None
    ) -> None:
        """Log a figure of matplotlib, drawn here and now; `close` closes it afterwards."""
        self.log({name: asynclog.Figure(figure, caption=caption)}, step)
        if close:
            from matplotlib import pyplot as plt

            plt.close(figure)

    def log_video(self, name: str, video: Any, step: int | None = None, **options: Any) -> None:
        """Log a video, as asynclog.Video takes it."""
        self.log({name: asynclog.Video(video, **options)}, step)

    def log_audio(self, name: str, audio: Any, step: int | None = None, **options: Any) -> None:
        """Log a sound, as asynclog.Audio takes it."""
        self.log({name: asynclog.Audio(audio, **options)}, step)

    def log_text(self, name: str, text: str, step: int | None = None) -> None:
        """Log a text in Markdown."""
        self.log({name: asynclog.Text(text)}, step)

    def log_html(self, name: str, html: str, step: int | None = None) -> None:
        """Log a page."""
        self.log({name: asynclog.Html(html)}, step)

    def log_table(self, name: str, rows: Any, columns: Sequence[str] | None = None, step: int | None = None) -> None:
        """Log a table, as asynclog.Table takes it."""
        self.log({name: asynclog.Table(rows, columns)}, step)

    def log_histogram(self, name: str, values: Any, step: int | None = None, **options: Any) -> None:
        """Log how an array's elements are distributed, as asynclog.Histogram takes it."""
        self.log({name: asynclog.Histogram(values, **options)}, step)

    def log_distribution(self, module: Any, step: int | None = None, *, prefix: str = "") -> None:
        """Log the histograms of all parameters and gradients of a torch.nn.Module, in one call.

        They are named `parameters/<name>` and `gradients/<name>` after `prefix`; gradients that are None are left out.
        """
        items = {}
        for name, parameter in module.named_parameters():
            items[f"{prefix}parameters/{name}"] = asynclog.Histogram(parameter)
            if parameter.grad is not None:
                items[f"{prefix}gradients/{name}"] = asynclog.Histogram(parameter.grad)
        self.log(items, step)

    def log_pr_curve(self, name: str, labels: Any, predictions: Any, step: int | None = None, **options: Any) -> None:
        """Log precision over recall, as asynclog.PRCurve takes it."""
        self.log({name: asynclog.PRCurve(labels, predictions, **options)}, step)

    def log_embedding(self, name: str, matrix: Any, step: int | None = None, **options: Any) -> None:
        """Log points for the projector, as asynclog.Embedding takes them."""
        self.log({name: asynclog.Embedding(matrix, **options)}, step)

    def log_mesh(self, name: str, vertices: Any, step: int | None = None, **options: Any) -> None:
        """Log a mesh, as asynclog.Mesh takes it."""
        self.log({name: asynclog.Mesh(vertices, **options)}, step)

    def log_graph(
        self,
        model: Any,
        input_to_model: Any,
        step: int | None = None,
        *,
        name: str = "graph",
        use_strict_trace: bool = True,
    ) -> None:
        """Log the graph of a torch model, traced here and now with an input: not for the hot loop."""
        self.log({name: asynclog.Graph(model, input_to_model, use_strict_trace=use_strict_trace)}, step)

    def log_layout(self, layout: Mapping[str, Any], step: int | None = None, *, name: str = "layout") -> None:
        """Log how custom scalars are arranged, as asynclog.Layout takes it."""
        self.log({name: asynclog.Layout(layout)}, step)

    def log_file(self, name: str, path: Any, step: int | None = None, **options: Any) -> None:
        """Log a file or a checkpoint, as asynclog.File takes it."""
        self.log({name: asynclog.File(path, **options)}, step)
