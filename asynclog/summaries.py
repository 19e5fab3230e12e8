"""SummaryWriter's `add_*` of one item each, whichever run they go to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from asynclog import media, summarymedia
from asynclog.summarybase import SummaryBase


class Summaries(SummaryBase):
    """Parameters are those of torch.utils.tensorboard.SummaryWriter, shapes and dtypes those of `asynclog.media`. What
    can't be logged is a warning, once a cause, and counted; nothing is raised. Without a step it is 0; `walltime` is in
    s since the epoch.
    """

    def add_tensor(self, tag: str, tensor: Any, global_step: Any = None, walltime: float | None = None) -> None:
        """Keep a tensor as the file `<tag>.npy` of the run: TensorBoard shows none, here as there."""
        self._log(self.run, tag, summarymedia.Array(tensor, tag), global_step, walltime)

    def add_histogram(
        self,
        tag: str,
        values: Any,
        global_step: Any = None,
        bins: str | int | Sequence[float] = "tensorflow",
        walltime: float | None = None,
        max_bins: int | None = None,
    ) -> None:
        """Log how values are distributed. `bins`: "tensorflow", a rule of NumPy's, how many, or edges."""
        if isinstance(bins, (str, int)):
            item: media.Media = media.Histogram(values, bins=bins, max_bins=max_bins)
        else:
            item = summarymedia.Binned(values, bins)
        self._log(self.run, tag, item, global_step, walltime)

    def add_histogram_raw(
        self,
        tag: str,
        min: float,  # noqa: A002 - SummaryWriter's names
        max: float,  # noqa: A002
        num: float,
        sum: float,  # noqa: A002
        sum_squares: float,
        bucket_limits: Sequence[float],
        bucket_counts: Sequence[float],
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Log a histogram that was counted elsewhere: upper edges, and as many counts."""
        stats = (min, max, num, sum, sum_squares)
        self._log(
            self.run, tag, media.Histogram.of_bins(bucket_limits, bucket_counts, stats=stats), global_step, walltime
        )

    def add_image(
        self,
        tag: str,
        img_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        dataformats: str = "CHW",
    ) -> None:
        """Log an image, or several as a grid where `dataformats` has an N."""
        self._log(self.run, tag, summarymedia.image(img_tensor, dataformats), global_step, walltime)

    def add_images(
        self,
        tag: str,
        img_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        dataformats: str = "NCHW",
    ) -> None:
        """Log several images as a grid."""
        self._log(self.run, tag, summarymedia.image(img_tensor, dataformats), global_step, walltime)

    def add_image_with_boxes(
        self,
        tag: str,
        img_tensor: Any,
        box_tensor: Any,
        global_step: Any = None,
        walltime: float | None = None,
        rescale: float = 1,
        dataformats: str = "CHW",
        labels: str | Sequence[str] | None = None,
    ) -> None:
        """Log an image with boxes, (n, 4) corners x0, y0, x1, y1 in pixels. Labels that are not n are left out."""
        labels = [labels] if isinstance(labels, str) else labels
        if labels is not None and len(labels) != len(box_tensor):
            labels = None
        item = media.Image(img_tensor, boxes=box_tensor, labels=labels, dataformats=dataformats, rescale=rescale)
        self._log(self.run, tag, item, global_step, walltime)

    def add_figure(
        self,
        tag: str,
        figure: Any,
        global_step: Any = None,
        close: bool = True,
        walltime: float | None = None,
    ) -> None:
        """Draw figures of matplotlib, here, and log them as one image or a grid. They are closed after that."""
        self._log(self.run, tag, summarymedia.Figures(figure), global_step, walltime)
        if close:
            summarymedia.close(figure)

    def add_video(
        self, tag: str, vid_tensor: Any, global_step: Any = None, fps: float = 4, walltime: float | None = None
    ) -> None:
        """Log moving pictures, (N, T, C, H, W)."""
        self._log(self.run, tag, media.Video(vid_tensor, fps=fps), global_step, walltime)

    def add_audio(
        self,
        tag: str,
        snd_tensor: Any,
        global_step: Any = None,
        sample_rate: int = 44100,
        walltime: float | None = None,
    ) -> None:
        """Log a sound, (L,) or (1, L)."""
        self._log(self.run, tag, media.Audio(snd_tensor, sample_rate=sample_rate), global_step, walltime)

    def add_text(self, tag: str, text_string: str, global_step: Any = None, walltime: float | None = None) -> None:
        """Log a text, which is Markdown."""
        self._log(self.run, tag, media.Text(text_string), global_step, walltime)

    def add_onnx_graph(self, prototxt: Any) -> None:
        """Log the graph of a model in an ONNX file; needs `onnx`."""
        self._log(self.run, "graph", summarymedia.OnnxGraph(prototxt), None, None)

    def add_graph(
        self,
        model: Any,
        input_to_model: Any = None,
        verbose: bool = False,  # noqa: ARG002 - SummaryWriter's; nothing is printed
        use_strict_trace: bool = True,
    ) -> None:
        """Log the graph of a torch model, which is traced here."""
        item = media.Graph(model, input_to_model, use_strict_trace=use_strict_trace)
        self._log(self.run, "graph", item, None, None)

    def add_embedding(
        self,
        mat: Any,
        metadata: Sequence[Any] | None = None,
        label_img: Any = None,
        global_step: Any = None,
        tag: str = "default",
        metadata_header: Sequence[str] | None = None,
    ) -> None:
        """Log points for the projector: (N, D), with N labels and N images."""
        item = media.Embedding(mat, metadata=metadata, label_images=label_img, metadata_header=metadata_header)
        self._log(self.run, tag, item, global_step, None)

    def add_pr_curve(
        self,
        tag: str,
        labels: Any,
        predictions: Any,
        global_step: Any = None,
        num_thresholds: int = 127,
        weights: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Log precision over recall, at thresholds from 0 to 1."""
        item = media.PRCurve(labels, predictions, weights=weights, num_thresholds=num_thresholds)
        self._log(self.run, tag, item, global_step, walltime)

    def add_pr_curve_raw(
        self,
        tag: str,
        true_positive_counts: Any,
        false_positive_counts: Any,
        true_negative_counts: Any,
        false_negative_counts: Any,
        precision: Any,
        recall: Any,
        global_step: Any = None,
        num_thresholds: int = 127,  # noqa: ARG002 - SummaryWriter's: as many as there are numbers
        weights: Any = None,  # noqa: ARG002 - SummaryWriter's: they are in the counts
        walltime: float | None = None,
    ) -> None:
        """Log a curve that was counted elsewhere: six times as many numbers as thresholds."""
        rows = (true_positive_counts, false_positive_counts, true_negative_counts, false_negative_counts)
        self._log(self.run, tag, summarymedia.Curve([*rows, precision, recall]), global_step, walltime)

    def add_custom_scalars_multilinechart(
        self, tags: Sequence[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Lay out one chart of several lines."""
        self.add_custom_scalars({category: {title: ["Multiline", list(tags)]}})

    def add_custom_scalars_marginchart(
        self, tags: Sequence[str], category: str = "default", title: str = "untitled"
    ) -> None:
        """Lay out one chart of a line and its margin: 3 tags, for the value, the lower and the upper bound."""
        self.add_custom_scalars({category: {title: ["Margin", list(tags)]}})

    def add_custom_scalars(self, layout: Mapping[str, Mapping[str, Any]]) -> None:
        """Lay out charts: {category: {chart: ["Multiline" or "Margin", [tag, ...]]}}. The last layout counts."""
        self._log(self.run, "custom_scalars", media.Layout(layout), None, None)

    def add_mesh(
        self,
        tag: str,
        vertices: Any,
        colors: Any = None,
        faces: Any = None,
        config_dict: Mapping[str, Any] | None = None,
        global_step: Any = None,
        walltime: float | None = None,
    ) -> None:
        """Log a mesh or a cloud of points: vertices, colors and faces (B, n, 3)."""
        self._log(
            self.run, tag, media.Mesh(vertices, colors=colors, faces=faces, config=config_dict), global_step, walltime
        )
