"""Images, grids, figures and videos."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from typing import Any, ClassVar

from asynclog._media.arrays import ACCEPTED, array_part, check_shape, described, refused
from asynclog._media.form import Drawn, Form, Media, Part, text_part
from asynclog.values import BadValueError
from asynclog_proto.media import Option

MOST_PIXELS = 64 << 20
"""Of one item, a video's frames each: what an encoder takes."""

CHANNELS = (1, 3, 4)


class Image(Media):
    """One image: grey, RGB or RGBA.

    Args:
        image: (C, H, W), (H, W, C) or (H, W), of any numeric dtype, or an image of PIL. uint8 is 0 to 255; other dtypes
            are 0 to 1, as in SummaryWriter.add_image, and clipped.
        caption: A line of text.
        boxes: (n, 4) corners x0, y0, x1, y1 in pixels, drawn on it.
        labels: A text for each box.
        dataformats: "CHW", "HWC" or "HW"; None tells them by the channels, and takes CHW where both fit.
        rescale: The image is shown at this multiple of its size.
    """

    KIND: ClassVar[str] = "image"

    def __init__(
        self,
        image: Any,
        *,
        caption: str | None = None,
        boxes: Any = None,
        labels: Sequence[str] | None = None,
        dataformats: str | None = None,
        rescale: float = 1.0,
    ) -> None:
        self.image = image
        self.caption = caption
        self.boxes = boxes
        self.labels = labels
        self.dataformats = dataformats
        self.rescale = rescale

    def form(self) -> Form:
        """As Media.form."""
        pil = _from_pil(self.image)
        part = array_part("image", self.image if pil is None else pil)
        dataformats = self.dataformats
        if pil is not None:
            dataformats = "HW" if pil.ndim == 2 else "HWC"
        elif dataformats is None:
            dataformats = _guessed(part)
        options = _options(part, dataformats, ("CHW", "HWC", "HW"), self.caption)
        if self.rescale != 1:
            options["rescale"] = _positive("rescale", self.rescale)
        return Form(self.KIND, (part, *_boxes(self.boxes, self.labels)), options)


class Images(Media):
    """Several images of one size, shown as a grid.

    Args:
        images: (N, C, H, W) or (N, H, W, C), values as in Image.
        caption: A line of text.
        dataformats: "NCHW" or "NHWC".
    """

    KIND: ClassVar[str] = "image"

    def __init__(self, images: Any, *, caption: str | None = None, dataformats: str = "NCHW") -> None:
        self.images = images
        self.caption = caption
        self.dataformats = dataformats

    def form(self) -> Form:
        """As Media.form."""
        part = array_part("image", self.images)
        return Form(self.KIND, (part,), _options(part, self.dataformats, ("NCHW", "NHWC"), self.caption))


class Figure(Drawn):
    """A figure of matplotlib, drawn on the caller's thread: the one thing that has to be.

    Args:
        figure: A matplotlib.figure.Figure that is not closed; it keeps its canvas.
        caption: A line of text.
    """

    KIND: ClassVar[str] = "image"

    def __init__(self, figure: Any, *, caption: str | None = None) -> None:
        self.figure = figure
        self.caption = caption

    def drawn(self) -> Form:
        """As Drawn.drawn."""
        part = array_part("image", _drawn(self.figure))
        return Form(self.KIND, (part,), _options(part, "HWC", ("HWC",), self.caption))


class Video(Media):
    """Moving pictures.

    Args:
        video: (N, T, C, H, W), or (T, C, H, W) of one; C is 1, 3 or 4, values as in Image. Several are shown side by
            side.
        fps: Frames a second.
        caption: A line of text.
    """

    KIND: ClassVar[str] = "video"

    def __init__(self, video: Any, *, fps: float = 4, caption: str | None = None) -> None:
        self.video = video
        self.fps = fps
        self.caption = caption

    def form(self) -> Form:
        """As Media.form."""
        part = array_part("video", self.video)
        check_shape(part, ("(N, T, C, H, W)", "(T, C, H, W)"), ndims=(4, 5))
        if len(part.section.shape) == 4:
            part = array_part("video", part.data[None], part.section.dtype)
        n, _, channels, height, width = part.section.shape
        if channels not in CHANNELS:
            raise refused(part, "accepted is (N, T, C, H, W) with 1, 3 or 4 channels")
        _check_pixels(part, n * height * width)
        options: dict[str, Option] = {"fps": _positive("fps", self.fps), **_captioned(self.caption)}
        return Form(self.KIND, (part,), options)


def _options(part: Part, dataformats: Any, accepted: Sequence[str], caption: str | None) -> dict[str, Option]:
    """Raises BadValueError where shape and dataformats are none of an image."""
    shape = part.section.shape
    letters = dataformats.upper() if isinstance(dataformats, str) else dataformats
    if letters not in accepted:
        raise refused(part, f"accepted dataformats are {', '.join(accepted)}, not {dataformats!r}")
    sides = dict(zip(letters, shape, strict=False))
    if len(letters) != len(shape) or sides.get("C", 1) not in CHANNELS:
        raise refused(part, f"accepted is {'(' + ', '.join(letters) + ')'} with 1, 3 or 4 channels")
    _check_pixels(part, sides.get("N", 1) * sides["H"] * sides["W"])
    return {"dataformats": letters, **_captioned(caption)}


def _captioned(caption: object) -> dict[str, Option]:
    return {} if caption is None else {"caption": str(caption)}


def _guessed(part: Part) -> str:
    shape = part.section.shape
    if len(shape) == 2:
        return "HW"
    if len(shape) == 3 and shape[0] not in CHANNELS and shape[2] in CHANNELS:
        return "HWC"
    if len(shape) != 3:
        more = "; several images are asynclog.Images" if len(shape) == 4 else ""
        raise refused(part, f"accepted are (C, H, W), (H, W, C) and (H, W){more}")
    return "CHW"


def _check_pixels(part: Part, pixels: int) -> None:
    if pixels > MOST_PIXELS:
        raise refused(part, f"it has {pixels / 1e6:.0f} million pixels, and {MOST_PIXELS / 1e6:.0f} are accepted")


def _positive(what: str, given: Any) -> float:
    try:
        number = float(given)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 < number < math.inf:
        raise BadValueError(f"has {what}={given!r}: a number above 0 is accepted", ValueError)
    return number


def _boxes(boxes: Any, labels: Sequence[str] | None) -> list[Part]:
    if boxes is None:
        return []
    part = array_part("boxes", boxes, "float32")
    if len(part.section.shape) != 2 or part.section.shape[1] != 4:
        raise refused(part, "accepted is (n, 4), the corners x0, y0, x1, y1")
    if labels is None:
        return [part]
    texts = [str(label).replace("\n", " ") for label in labels]
    if len(texts) != part.section.shape[0]:
        raise BadValueError(f"has {len(texts)} labels for {part.section.shape[0]} boxes: one each is accepted")
    return [part, text_part("labels", "\n".join(texts))]


def _from_pil(value: Any) -> Any:
    """The pixels of an image of PIL, uint8; None for anything else."""
    module = sys.modules.get("PIL.Image")
    if module is None or not isinstance(value, module.Image):
        return None
    import numpy as np

    if value.width * value.height == 0 or value.width * value.height > MOST_PIXELS:
        size = f"of {value.width} x {value.height} pixels"
        raise BadValueError(f"has an image {size}: 1 to {MOST_PIXELS} pixels are accepted", ValueError)
    has_alpha = "A" in value.mode or "transparency" in value.info
    mode = value.mode if value.mode in {"L", "RGB", "RGBA"} else "RGBA" if has_alpha else _plain_mode(value.mode)
    return np.asarray(value if value.mode == mode else value.convert(mode))


def _plain_mode(mode: str) -> str:
    return "L" if mode in {"1", "I", "F"} or mode.startswith("I;") else "RGB"


def _drawn(figure: Any) -> Any:
    """The figure's RGBA pixels. Raises BadValueError for what is no open figure."""
    module = sys.modules.get("matplotlib.figure")
    if module is None or not isinstance(figure, module.Figure):
        hint = f"; {ACCEPTED} is an asynclog.Image" if hasattr(figure, "shape") else ""
        raise BadValueError(f"is a figure {described(figure)}: a figure of matplotlib is accepted{hint}")
    pyplot = sys.modules.get("matplotlib._pylab_helpers")
    number = getattr(figure, "number", None)
    if pyplot is not None and number is not None:
        shown = pyplot.Gcf.figs.get(number)
        if shown is None or shown.canvas.figure is not figure:
            raise BadValueError("is a figure that was closed: log it before plt.close()", ValueError)
    width, height = (int(side) for side in figure.bbox.size)
    if width * height > MOST_PIXELS:
        text = f"is a figure of {width} x {height} pixels: {MOST_PIXELS} pixels are accepted"
        raise BadValueError(text, ValueError)
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    own = figure.canvas
    try:
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        return np.asarray(canvas.buffer_rgba())
    finally:
        figure.set_canvas(own)
