"""The loss curve of a run with its band over ranks, from the CSV that asynclog wrote.

python examples/plot_loss.py demo-out/digits/demo --out loss.png
"""

from __future__ import annotations

import argparse
import csv
import math
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

BLUE, ORANGE, INK, GREY = "#2563eb", "#d9480f", "#1f2933", "#7b8794"
Series = tuple[list[int], list[float]]


def series(run_dir: Path, name: str) -> Series:
    """Steps and values of one column of csv/metrics.csv, blank cells left out; empty when it has none."""
    with (run_dir / "csv" / "metrics.csv").open(newline="") as file:
        points = [(int(row["step"]), float(row[name])) for row in csv.DictReader(file) if row.get(name)]
    return [step for step, _ in points], [value for _, value in points]


def smooth(values: list[float], span: int) -> list[float]:
    """Mean over about `span` values around each one, fewer at the ends."""
    half = span // 2
    windows = [values[max(0, at - half) : at + half + 1] for at in range(len(values))]
    return [sum(window) / len(window) for window in windows]


def plot(run_dir: Path, out: Path) -> None:
    """Write the picture: mean over ranks, smoothed; min to max over ranks as a band; validation as points."""
    steps, mean = series(run_dir, "train/loss")
    band_steps, low = series(run_dir, "train/loss/min")
    high = series(run_dir, "train/loss/max")[1]
    val_steps, val = series(run_dir, "val/loss")
    span = max(1, len(steps) // 20)

    plt.rcParams.update({"font.size": 11, "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": GREY})
    figure, axes = plt.subplots(figsize=(9, 5), layout="constrained")
    axes.fill_between(band_steps, low, high, color=BLUE, alpha=0.18, lw=0, label="train, min to max over ranks")
    axes.plot(steps, mean, color=BLUE, alpha=0.35, lw=0.7, label="train, mean over ranks")
    axes.plot(steps, smooth(mean, span), color=BLUE, lw=2.2, label=f"train, smoothed over {span} steps")
    axes.plot(val_steps, val, color=ORANGE, marker="o", ms=5, lw=1.2, label="validation, each epoch")
    if val and math.isfinite(val[-1]):
        axes.annotate(f"{val[-1]:.3f}", (val_steps[-1], val[-1]), (9, 0), textcoords="offset points",
                      color=ORANGE, va="center", fontweight="bold")  # fmt: skip
    axes.set_xlim(0, max(steps, default=1) * 1.06)
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("step (optimizer updates)")
    axes.set_ylabel("cross-entropy (nats per image, log scale)")
    run = f"{run_dir.parent.name}/{run_dir.name}"
    axes.set_title(f"{run}: training loss and its band over ranks", loc="left", fontweight="bold")
    axes.grid(axis="y", color="#e4e7eb", lw=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=GREY, which="both")
    axes.legend(frameon=False, loc="upper right")
    figure.savefig(out, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path, help="a run's folder, the one that holds csv/metrics.csv")
    parser.add_argument("--out", type=Path, default=Path("loss.png"), help="picture to write (default loss.png)")
    options = parser.parse_args()
    plot(options.run_dir, options.out)


if __name__ == "__main__":
    main()
