"""PNG charts of what the benchmarks measured, from their JSON.

    python bench/charts.py [--results bench/results] [--images docs/images] [--readme]

Each chart is made of one benchmark's rows, `<results>/<benchmark>.json` as its `--json` writes it; where that is not
there, the chart that there is stays. `--readme` links each chart where docs/benchmarks.md has its markers. All are
drawn on white with dark letters, so that they read the same on a light page and on a dark one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

import harness
from chart_style import INK, STYLE, Axes, captioned, differences, dots, lines, panels
from ddp import WAYS
from growth_report import AXES
from harness import ROOT, Row

RESULTS, IMAGES = ROOT / "bench" / "results", ROOT / "docs" / "images"
TOLD_US = 300.0
"""About what blocks of whole steps can tell from nothing."""


def hot_path(rows: Sequence[Row]) -> Figure:
    """Latency of the call, and what the whole process tree spends on it."""
    paced = [row for row in rows if row["mode"] == "paced" and row["contender"] != "empty"][::-1]
    labels = [row["label"] for row in paced]
    ours = [row["contender"] == "asynclog" for row in paced]
    figure, (latency, cpu) = panels(1, 2, (9.6, 0.36 * len(paced) + 1.9), sharey=True)
    dots(latency, labels, {"p50": [row["p50_us"] for row in paced], "p99": [row["p99_us"] for row in paced]}, ours)
    latency.set(title="log() of 10 floats at each 1 ms step", xlabel="us on the caller's thread (log scale)")
    dots(cpu, labels, {"": [row["cpu_us_per_call"] for row in paced]}, ours)
    cpu.set(title="CPU of the whole process tree", xlabel="us a call, daemon and journal included (log scale)")
    return figure


def backends(rows: Sequence[Row]) -> Figure:
    """How many times less CPU than each product's own package."""
    ours = [row for row in rows if row["who"] == "asynclog"]
    names = list(dict.fromkeys(row["backend"] for row in ours))[::-1]
    gains = {(row["backend"], row["steps_per_table"]): row["cpu_gain"] for row in ours}
    series = {
        f"{steps} {'step' if steps == 1 else 'steps'} a table": [gains[name, steps] for name in names]
        for steps in sorted({row["steps_per_table"] for row in ours})
    }
    figure, (axes,) = panels(1, 1, (7.2, 0.36 * len(names) + 1.9))
    dots(axes, names, series, [True] * len(names))
    axes.axvline(1, color=INK, linewidth=0.8, linestyle=":")
    axes.set(title="CPU a point, beside the product's own package", xlabel="times less (log scale; 1 is the same)")
    return figure


def growth(rows: Sequence[Row]) -> Figure:
    """CPU a value along each axis, and what a long run leaves."""
    figure, places = panels(2, 3, (10.2, 6.0))
    for axes, (axis, label) in zip(places, AXES.items(), strict=False):
        found = [row for row in rows if row["axis"] == axis]
        xs, costs = [row["x"] for row in found], [row["ns_per_scalar"] for row in found]
        lines(axes, xs, {"": costs}, logarithmic=axis != "backends")
        axes.set(title=f"CPU, by {label}", xlabel=label, ylabel="daemon's CPU, ns a value")
        axes.set_ylim(min(10.0, *costs), 1.5 * max(costs)) if axis != "backends" else axes.set_ylim(0)
    _kept(places[-1], [row for row in rows if row["axis"] == "length"])
    return figure


def _kept(axes: Axes, rows: Sequence[Row]) -> None:
    sizes = [row["journal_bytes_per_scalar"] * row["scalars"] / 1e6 for row in rows]
    series = {"journal, MB": sizes, "daemon's memory, MB at most": [row["rss_peak_mb"] for row in rows]}
    series["replay, s"] = [row["replay_s"] for row in rows]
    lines(axes, [row["x"] for row in rows], series, logarithmic=True)
    axes.set(xlabel=AXES["length"])


def caller(rows: Sequence[Row]) -> Figure:
    """Cost of the call for each value, by names a row."""
    wide = [row for row in rows if row["mode"] == "names"]
    names = sorted({row["names"] for row in wide})
    contenders = sorted({row["contender"] for row in wide}, key=lambda contender: contender != "asynclog")
    series = {}
    for contender in contenders:
        found = [row for row in wide if row["contender"] == contender]
        series[found[0]["label"]] = [row["ns_per_value"] for row in found]
    figure, (axes,) = panels(1, 1, (6.0, 3.8))
    lines(axes, names, series, logarithmic=True)
    axes.set(xlabel="names a row", ylabel="ns a value on the caller's thread")
    return figure


def ddp(rows: Sequence[Row]) -> Figure:
    """What each way to log adds to a step, by metrics; the no-op logger's says how well the clock can tell."""
    even = [row for row in rows if not row["uneven"]]
    worlds = sorted({row["ranks"] for row in even})
    figure, places = panels(1, len(worlds), (4.8 * len(worlds), 4.4), sharex=True, sharey=True)
    for axes, ranks in zip(places, worlds, strict=True):
        series = {
            WAYS[way]: _added([row for row in even if (row["way"], row["ranks"]) == (way, ranks)])
            for way in ("asynclog", "packed", "each", "noop")
        }
        differences(axes, series, TOLD_US)
        axes.set(title=f"{ranks} ranks", xlabel="metrics at each step (log scale)")
    places[0].set_ylabel(f"us added to a step (log scale beyond ±{TOLD_US:,.0f})")
    figure.legend(*places[0].get_legend_handles_labels(), frameon=False, loc="outside upper left", ncols=4)
    return figure


def _added(rows: Sequence[Row]) -> tuple[list[float], list[float], list[float]]:
    ordered = sorted(rows, key=lambda row: float(row["metrics"]))
    metrics, added, errors = ([row[key] for row in ordered] for key in ("metrics", "added_us", "added_error_us"))
    return metrics, added, errors


@dataclass(frozen=True)
class Chart:
    """A picture of a benchmark's rows."""

    benchmark: str
    draw: Callable[[Sequence[Row]], Figure]
    about: str
    """What it shows, for who can't see it."""


CHARTS: Mapping[str, Chart] = {
    "hot_path": Chart(
        "hot_path", hot_path, "p50 and p99 of logging a dict of 10 floats, and CPU of the process tree, by logger"
    ),
    "names": Chart("hot_path", caller, "Nanoseconds a value on the caller's thread, by names a row"),
    "growth": Chart("growth", growth, "The daemon's CPU a value by names, ranks, rate, backends and length of the run"),
    "ddp": Chart("ddp", ddp, "What asynclog and collectives add to a step of a DDP training, by metrics a step"),
    "backends": Chart("backends", backends, "How many times less CPU a point than each product's own package"),
}


def drawn(results: Path, images: Path) -> list[str]:
    """Draw every chart whose benchmark has a result; their names."""
    images.mkdir(parents=True, exist_ok=True)
    made = []
    for name, chart in CHARTS.items():
        source = results / f"{chart.benchmark}.json"
        if not source.exists():
            continue
        rows: list[dict[str, Any]] = json.loads(source.read_text())
        with mpl.rc_context(dict(STYLE)):
            captioned(chart.draw(rows), _about(rows[0]), images / f"{name}.png")
        made.append(name)
    return made


def _about(row: Row) -> list[str]:
    return [row[key] for key in ("machine", "versions") if key in row]  # results of before have no versions


def link(name: str, images: Path, page: Path) -> str:
    """The line of a page that shows a chart."""
    return f"![{CHARTS[name].about}]({Path(os.path.relpath(images, page.parent)).as_posix()}/{name}.png)"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=RESULTS, help="the folder with the benchmarks' JSON")
    parser.add_argument("--images", type=Path, default=IMAGES, help="the folder for the charts")
    parser.add_argument("--readme", action="store_true", help="link them in docs/benchmarks.md")
    options = parser.parse_args()
    made = drawn(options.results, options.images)
    for name in CHARTS:
        said = options.images / f"{name}.png" if name in made else f"no {CHARTS[name].benchmark}.json, left as it was"
        print(f"{name}: {said}")
    page = ROOT / "docs" / "benchmarks.md"
    for name in made if options.readme else ():
        harness.write_readme(f"chart_{name}", link(name, options.images.resolve(), page), [page])
    return 0


if __name__ == "__main__":
    sys.exit(main())
