"""How charts look, and the two kinds that there are: dots on a logarithmic scale by name, and lines."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

Axes = Any  # matplotlib's; mypy does not follow it

INK, OURS, THEIRS, GRID = "#24292f", "#0969da", "#8c959f", "#d0d7de"
LINES = ("#0969da", "#bc4c00", "#1a7f37", "#8c959f")
MARKS = ("o", "s", "^", "D")
SMALL_PRINT = 7.0
CHARACTERS_AN_INCH = 18
"""Of small print, so that a line is within the picture."""
COLOURS = 64
"""In a file: enough for letters and lines, at a third of the size."""

STYLE: Mapping[str, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 10.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), INK),
    **dict.fromkeys(("figure.facecolor", "axes.facecolor", "savefig.facecolor"), "white"),
}


def panels(
    rows: int, columns: int, inches: tuple[float, float], *, sharex: bool = False, sharey: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure and its axes, row by row."""
    figure = Figure(figsize=inches, dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure, list(figure.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False).flat)


def dots(axes: Axes, names: Sequence[str], series: Mapping[str, Sequence[float]], ours: Sequence[bool]) -> None:
    """A line a name with a dot for each series, its figure beside it; zero has no place on the scale."""
    colours = [OURS if mine else THEIRS for mine in ours]
    for mark, (label, values) in zip(MARKS, series.items(), strict=False):
        places = [at for at, value in enumerate(values) if value > 0]
        shown, paint = [values[at] for at in places], [colours[at] for at in places]
        axes.scatter(shown, places, c=paint, marker=mark, s=34, zorder=3)
        above = 5 if mark == MARKS[0] else -12  # two dots may be near each other
        for at in places:
            where = {"xytext": (0, above), "textcoords": "offset points", "ha": "center"}
            axes.annotate(figure_of(values[at]), (values[at], at), fontsize=7.5, **where)
        if label:
            axes.scatter([], [], c=INK, marker=mark, s=34, label=label)
    axes.set_xscale("log")
    axes.margins(x=0.12, y=0.12)
    axes.set_yticks(range(len(names)), names)
    axes.grid(visible=False, axis="y")
    if len(series) > 1:
        axes.figure.legend(frameon=False, loc="outside upper left", ncols=len(series))


def lines(axes: Axes, xs: Sequence[float], series: Mapping[str, Sequence[float]], *, logarithmic: bool) -> None:
    """A line a series, with a mark where something was measured."""
    for style, (label, values) in zip(_looks(), series.items(), strict=False):
        axes.plot(xs, values, label=label, **style)
    if logarithmic:
        axes.set_xscale("log")
        axes.set_yscale("log")
    else:
        axes.set_xticks(xs)
    if len(series) > 1:
        axes.legend(frameon=False, fontsize=8, loc="lower left", bbox_to_anchor=(0, 1), borderaxespad=0.2)


def differences(
    axes: Axes, series: Mapping[str, tuple[Sequence[float], Sequence[float], Sequence[float]]], linear: float
) -> None:
    """A line a series of (xs, values, their errors), which may be of either sign: the scale is linear up to so much."""
    for style, (label, (xs, values, errors)) in zip(_looks(), series.items(), strict=False):
        axes.errorbar(xs, values, yerr=errors, label=label, capsize=2.5, elinewidth=1.0, **style)
    axes.axhline(0, color=INK, linewidth=0.8)
    axes.set_xscale("log")
    axes.set_yscale("symlog", linthresh=linear)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")


def _looks() -> list[dict[str, Any]]:
    common = {"markersize": 5, "linewidth": 1.6}
    return [{"color": colour, "marker": mark, **common} for colour, mark in zip(LINES, MARKS, strict=True)]


def figure_of(value: float) -> str:
    """A number that fits beside a dot."""
    return f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def captioned(figure: Figure, about: Sequence[str], path: Path) -> None:
    """Write the figure with lines of small print under it."""
    width = int(figure.get_figwidth() * CHARACTERS_AN_INCH)
    figure.supxlabel("\n".join(_wrapped(line, width) for line in about), fontsize=SMALL_PRINT, color=INK)
    figure.savefig(path)
    with Image.open(path) as picture:
        # By coverage, for dots of our colour are few: the median cut has them paler.
        picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE).save(path, optimize=True)


def _wrapped(line: str, width: int) -> str:
    items = [item.replace(" ", "\N{NO-BREAK SPACE}") for item in line.split(", ")]  # a name stays with its version
    return textwrap.fill(", ".join(items), width, break_on_hyphens=False)
