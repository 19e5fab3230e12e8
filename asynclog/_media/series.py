"""Sound, and what is made of many numbers: histograms and precision-recall curves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

from asynclog._media import binning
from asynclog._media.arrays import array_part, check_shape, host_floats, refused
from asynclog._media.form import DeviceFold, Form, Media, Part, numbers_part
from asynclog.values import BadValueError
from asynclog_proto.media import Option

NUMPY_BINS = ("auto", "doane", "fd", "rice", "scott", "sqrt", "stone", "sturges")
MOST_BINS = 1 << 20


class Audio(Media):
    """A sound.

    Args:
        audio: (L,), (1, L) or (C, L) samples, of floats from -1 to 1 or of integers over their whole range.
        sample_rate: Samples a second.
        caption: A line of text.
    """

    KIND: ClassVar[str] = "audio"

    def __init__(self, audio: Any, *, sample_rate: int = 44100, caption: str | None = None) -> None:
        self.audio = audio
        self.sample_rate = sample_rate
        self.caption = caption

    def form(self) -> Form:
        """As Media.form."""
        part = array_part("audio", self.audio)
        accepted = ("(L,)", "(C, L) with at most 32 channels")
        check_shape(part, accepted, ndims=(1, 2))
        if len(part.section.shape) == 2 and part.section.shape[0] > _MOST_CHANNELS:
            raise refused(part, f"accepted are {' and '.join(accepted)}")
        options: dict[str, Option] = {"sample_rate": _whole("sample_rate", self.sample_rate, 1, _MOST_RATE)}
        if self.caption is not None:
            options["caption"] = str(self.caption)
        return Form(self.KIND, (part,), options)


_MOST_CHANNELS, _MOST_RATE = 32, 1 << 24


class Histogram(Media):
    """How the elements of an array are distributed. Those of a tensor on a GPU are counted there: only the bins travel.

    Args:
        values: Of any shape and numeric dtype.
        bins: "tensorflow" (SummaryWriter's default), a name that numpy.histogram_bin_edges takes, or how many of equal
            width. On a GPU "tensorflow" alone is counted there.
        max_bins: Join neighbouring bins until at most about so many are left.
    """

    KIND: ClassVar[str] = "histogram"

    def __init__(self, values: Any, *, bins: str | int = "tensorflow", max_bins: int | None = None) -> None:
        self.values = values
        self.bins = bins
        self.max_bins = max_bins

    @classmethod
    def of_bins(cls, edges: Any, counts: Any, *, stats: Sequence[float] | None = None) -> Media:
        """A histogram that was counted elsewhere.

        Args:
            edges: The n + 1 edges of n bins, as numpy.histogram returns them, or the n upper ones.
            counts: How many elements are in each of the n bins.
            stats: Their min, max, number, sum and sum of squares; None estimates them from the middles of the bins.
        """
        return _Counted(edges, counts, stats)

    def form(self) -> Form:
        """As Media.form."""
        part = array_part("values", self.values)
        bins = self.bins
        if isinstance(bins, str) and bins not in {"tensorflow", *NUMPY_BINS}:
            names = ", ".join(("tensorflow", *NUMPY_BINS))
            raise BadValueError(f"has bins={bins!r}: accepted are {names} or how many", ValueError)
        if not isinstance(bins, str):
            bins = _whole("bins", bins, 1, MOST_BINS)
        options: dict[str, Option] = {"bins": bins}
        if self.max_bins is not None:
            options["max_bins"] = _whole("max_bins", self.max_bins, 1, MOST_BINS)
        elif bins == "tensorflow" and part.is_on_device:
            return Form(self.KIND, (part,), {}, DeviceFold(binning.fold, binning.parts_of))
        return Form(self.KIND, (part,), options)


class _Counted(Media):
    """Histogram.of_bins."""

    KIND: ClassVar[str] = "histogram"

    def __init__(self, edges: Any, counts: Any, stats: Sequence[float] | None) -> None:
        self.edges = edges
        self.counts = counts
        self.stats = stats

    def form(self) -> Form:
        """As Media.form."""
        import numpy as np

        counts, edges = host_floats("counts", self.counts), host_floats("edges", self.edges)
        if len(edges) not in {len(counts), len(counts) + 1}:
            text = f"has {len(edges)} edges for {len(counts)} counts: as many, or one more, are accepted"
            raise BadValueError(text, ValueError)
        if not (np.isfinite(counts).all() and (counts >= 0).all() and (np.diff(edges) >= 0).all()):
            raise BadValueError("has counts below 0, or edges that do not ascend", ValueError)
        uppers = edges[-len(counts) :]
        stats = _estimated(edges, counts) if self.stats is None else host_floats("stats", self.stats, 5)
        named = {"stats": stats, "edges": uppers, "counts": counts}
        parts = tuple(numbers_part(role, data) for role, data in named.items())
        return Form(self.KIND, parts, {"nonfinite": 0})


def _estimated(edges: Any, counts: Any) -> Any:
    import numpy as np

    # A lowest edge that nobody gave is the first upper one; infinite edges say nothing of where the elements are.
    bounds = edges if len(edges) > len(counts) else np.concatenate([edges[:1], edges])
    finite = np.nan_to_num(bounds, posinf=0.0, neginf=0.0)
    middles = (finite[:-1] + finite[1:]) / 2
    moments = [float((counts * middles**power).sum()) for power in (0, 1, 2)]
    return np.array([finite[0], finite[-1], *moments])


class PRCurve(Media):
    """Precision over recall, at thresholds from 0 to 1.

    Args:
        labels: The truth of each prediction, 0 or 1, of any shape.
        predictions: Probabilities, as many.
        weights: Of each prediction; 1 by default.
        num_thresholds: How many.
    """

    KIND: ClassVar[str] = "pr_curve"

    def __init__(self, labels: Any, predictions: Any, *, weights: Any = None, num_thresholds: int = 127) -> None:
        self.labels = labels
        self.predictions = predictions
        self.weights = weights
        self.num_thresholds = num_thresholds

    @classmethod
    def of_counts(cls, curve: Any) -> Media:
        """One that was counted elsewhere: (6, n) true positives, false positives, true negatives, false negatives,
        precision and recall at n thresholds.
        """
        return _Curve(curve)

    def form(self) -> Form:
        """As Media.form."""
        given = {"labels": self.labels, "predictions": self.predictions, "weights": self.weights}
        parts = [array_part(role, value) for role, value in given.items() if value is not None]
        counts = {part.section.role: _elements(part) for part in parts}
        if len(set(counts.values())) > 1:
            text = ", ".join(f"{count} {role}" for role, count in counts.items())
            raise BadValueError(f"has {text}: equally many are accepted", ValueError)
        options: dict[str, Option] = {"num_thresholds": _whole("num_thresholds", self.num_thresholds, 2, MOST_BINS)}
        return Form(self.KIND, tuple(parts), options)


class _Curve(Media):
    """PRCurve.of_counts."""

    KIND: ClassVar[str] = "pr_curve"

    def __init__(self, curve: Any) -> None:
        self.curve = curve

    def form(self) -> Form:
        """As Media.form."""
        part = array_part("curve", self.curve, "float32")
        if len(part.section.shape) != 2 or part.section.shape[0] != 6:
            raise refused(part, "accepted is (6, n)")
        return Form(self.KIND, (part,), {"num_thresholds": part.section.shape[1]})


def _elements(part: Part) -> int:
    count = 1
    for side in part.section.shape:
        count *= side
    return count


def _whole(what: str, given: Any, low: int, high: int) -> int:
    try:
        number = int(given)
        if number == given and low <= number <= high and not isinstance(given, bool):
            return number
    except (TypeError, ValueError, OverflowError):
        pass  # told below, as every other wrong value is
    raise BadValueError(f"has {what}={given!r}: a whole number from {low} to {high} is accepted", ValueError)
