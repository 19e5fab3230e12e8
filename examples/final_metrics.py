"""The last value of every metric of a run, as a table, from the CSV that asynclog wrote.

python examples/final_metrics.py demo-out/digits/demo
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table


@dataclass
class Metric:
    """A metric's points, folded as they are read."""

    count: int = 0
    first: float = 0.0
    last: float = 0.0
    last_step: int = 0

    def add(self, step: int, value: float) -> None:
        if not self.count:
            self.first = value
        self.count, self.last, self.last_step = self.count + 1, value, step


def read(run_dir: Path) -> dict[str, Metric]:
    """Every column of csv/metrics.csv but `step`, in its order."""
    metrics: dict[str, Metric] = {}
    with (run_dir / "csv" / "metrics.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            for name, cell in row.items():
                if name != "step" and cell:
                    metrics.setdefault(name, Metric()).add(int(row["step"]), float(cell))
    return metrics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run_dir", type=Path, help="a run's folder, the one that holds csv/metrics.csv")
    parser.add_argument("--all", action="store_true", help="host metrics (system/...) too")
    options = parser.parse_args()

    table = Table("metric", "first", "last", "at step", "points", title="Final metrics", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, metric in sorted(read(options.run_dir).items()):
        if options.all or not name.startswith("system/"):
            numbers = f"{metric.first:.4g}", f"{metric.last:.4g}", f"{metric.last_step:,}", f"{metric.count:,}"
            table.add_row(name, *numbers)
    Console(highlight=False).print(table)


if __name__ == "__main__":
    main()
